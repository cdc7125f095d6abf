"""Code and pickles in a model's folder: never run, whatever the folder says of them."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.known import shipped_pipeline
from lokr_weighting.models.loading import load_unchanged, pipeline_folder
from tests.attacks.hostile import change_json, refused_in_one_line
from tests.conftest import Run

Cli = Callable[..., Run]


class Runs:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.mark,)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The digits pipeline, to be changed."""
    shipped = shipped_pipeline("digits")
    assert shipped is not None
    return shutil.copytree(shipped, tmp_path / "model")


def marking_code(mark: Path) -> str:
    return f"from pathlib import Path\nPath({str(mark)!r}).touch()\nclass Own: pass\n"


def test_the_pickle_of_these_tests_would_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Runs(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("weights", "pickled"),
    [
        ("transformer/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("vae/diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
        ("text_encoder/model.safetensors", "pytorch_model.bin"),
    ],
)
def test_weights_that_are_a_pickle_are_never_unpickled(
    model: Path, tmp_path: Path, weights: str, pickled: str
) -> None:
    data = pickle.dumps(Runs(tmp_path / "mark"))
    for name in (Path(weights).name, pickled):
        (model / weights).unlink(missing_ok=True)
        (model / weights).with_name(name).write_bytes(data)
        with pytest.raises(LokrWeightingError, match="diffusers cannot load this"):
            load_unchanged(model, torch.float32)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["adapter.safetensors", "adapter.pt", "adapter.bin"])
def test_an_adapter_that_is_a_pickle_is_never_unpickled(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Runs(tmp_path / "mark")))
    run = cli("convert", name, "--model", "digits", "--output", "out")
    refused_in_one_line(run, f"{name}: is no safetensors file")
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "index",
    [
        {"_class_name": ["pipeline", "Own"]},
        {"transformer": ["own", "Own"]},
        {"transformer": ["marking", "Own"]},
        {"text_encoder": ["marking", "Own"]},
    ],
)
def test_an_index_that_names_code_is_refused_and_nothing_of_it_is_run(
    model: Path, tmp_path: Path, index: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("pipeline.py", "transformer/own.py", "transformer/marking.py"):
        (model / file).write_text(marking_code(tmp_path / "mark"))
    # as where the command is started in the folder of somebody else
    (tmp_path / "marking.py").write_text(marking_code(tmp_path / "mark"))
    monkeypatch.syspath_prepend(tmp_path)
    change_json(model / "model_index.json", **index)
    with pytest.raises(LokrWeightingError, match=r"model_index.json: \w+ = \['"):
        pipeline_folder(str(model))
    assert not (tmp_path / "mark").exists()


def test_code_beside_the_weights_is_left_alone(model: Path, tmp_path: Path) -> None:
    for component, kind in (("transformer", "diffusers"), ("text_encoder", "transformers")):
        for name in ("own", kind, "modeling"):
            (model / component / f"{name}.py").write_text(marking_code(tmp_path / "mark"))
        config = model / component / "config.json"
        change_json(config, auto_map={"AutoModel": "own.Own"}, custom_pipeline="own")
    change_json(model / "model_index.json", custom_pipeline="own", trust_remote_code=True)
    try:
        load_unchanged(model, torch.float32)
    except LokrWeightingError as error:
        assert "diffusers cannot load this" in str(error)
    assert not (tmp_path / "mark").exists()
