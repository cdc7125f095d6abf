import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from lokr_weighting.errors import LokrWeightingError, OutputError
from lokr_weighting.targets.replaced import replace_adapters, replace_file, save_in_order

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def write(place: Path) -> None:
    """Two adapters."""
    for number in (1, 2):
        (place / f"lokr_{number}of2").mkdir()
        (place / f"lokr_{number}of2" / CONFIG).write_text(f"new {number}")


def content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


WRITTEN = {f"lokr_{number}of2/{CONFIG}": f"new {number}" for number in (1, 2)}


def test_adapters_of_another_plan_make_way_and_other_files_stay(tmp_path: Path) -> None:
    for name in ("lokr_1of3", "lokr_2of3", "lokr_2of2", "mine"):
        (tmp_path / name).mkdir()
        for file in (CONFIG, WEIGHTS):
            (tmp_path / name / file).write_text("old")
    (tmp_path / "lokr_2of3" / "notes.txt").write_text("my own")
    for file in (CONFIG, WEIGHTS):
        (tmp_path / file).write_text("a LoRA's")
    replace_adapters(tmp_path, write)
    assert content(tmp_path) == {
        **WRITTEN,
        "lokr_2of3/notes.txt": "my own",
        f"mine/{CONFIG}": "old",
        f"mine/{WEIGHTS}": "old",
    }


@pytest.mark.parametrize("begun", [(), (1,), (1, 2)])
def test_what_a_kill_left_of_the_same_is_gone_on_with_unasked(
    begun: tuple[int, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    write(folder)
    for number in {1, 2} - {*begun}:
        shutil.rmtree(folder / f"lokr_{number}of2")
    left = ".adapter.abcd1234.lokr-weighting"
    (folder / left / "whole" / "lokr_1of2").mkdir(parents=True)
    (folder / left / "whole" / "lokr_1of2" / CONFIG).write_text("ne")
    (tmp_path / left).mkdir()
    replace_adapters(folder, write, replace=False)
    assert content(folder) == WRITTEN
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize("other", ["notes.txt", f"lokr_1of2/{CONFIG}", f"lokr_1of3/{CONFIG}"])
def test_something_else_is_not_replaced_unasked(other: str, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    (folder / other).parent.mkdir(parents=True)
    (folder / other).write_text("my own")
    with pytest.raises(LokrWeightingError, match="adapter: exists; --force replaces it"):
        replace_adapters(folder, write, replace=False)
    assert content(tmp_path) == {f"adapter/{other}": "my own"}


def test_a_file_is_replaced_unasked_only_by_the_same(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    for _ in range(2):
        replace_file(file, lambda place: place.write_text("one"), replace=False)
    with pytest.raises(LokrWeightingError, match=re.escape("--force replaces it")):
        replace_file(file, lambda place: place.write_text("two"), replace=False)
    replace_file(file, lambda place: place.write_text("two"))
    assert content(tmp_path) == {"x.safetensors": "two"}


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        write(place)
        raise OSError(28, "No space left on device")

    (tmp_path / "adapter" / "lokr_1of1").mkdir(parents=True)
    (tmp_path / "adapter" / "lokr_1of1" / CONFIG).write_text("old")
    with pytest.raises(OutputError, match="adapter: cannot be written: No space left on device"):
        replace_adapters(tmp_path / "adapter", fail)
    assert content(tmp_path) == {f"adapter/lokr_1of1/{CONFIG}": "old"}


def test_a_folder_that_is_deleted_meanwhile_is_noticed(tmp_path: Path) -> None:
    def rob(place: Path) -> None:
        write(place)
        shutil.rmtree(place / "lokr_1of2")
        shutil.rmtree(tmp_path / "adapter", ignore_errors=True)

    with pytest.raises(OutputError):
        (tmp_path / "adapter").mkdir()
        replace_adapters(tmp_path / "adapter", rob)


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.ones(3), "a": torch.zeros(2, 2)}
    metadata = {"format": "pt", "é": '{"x": "ü"}', "a": "1", "z": "2"}
    for number in range(12):
        save_in_order(tensors, tmp_path / f"{number}.safetensors", metadata)
    files = [path.read_bytes() for path in tmp_path.iterdir()]
    assert len(files) == 12
    assert len(set(files)) == 1
    assert torch.equal(load_file(tmp_path / "0.safetensors")["b"], tensors["b"])
    with safe_open(tmp_path / "0.safetensors", framework="pt") as file:
        assert file.metadata() == metadata
