"""A measurement of one's own batches is kept in a folder that every command reads."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError, Stop, calibrate, make_plan, read_calibration
from lokr_weighting.measure.own_batches import content_of, numbered
from lokr_weighting.records.store import NOT_FINITE, RECORDS, SIMILARITY
from tests.conftest import Run
from tests.inputs import records_in
from tests.tiny_models import model_and_inputs

STOP = Stop(samples=30)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return model_and_inputs("sd3")[0]


@pytest.fixture(scope="module")
def batches() -> list[dict[str, Tensor]]:
    """Four batches of three: a judgement at 20 or 30 falls into one, or behind it."""
    rng = torch.Generator().manual_seed(0)
    return [
        {
            "latents": torch.randn(3, 16, 8, 8, generator=rng),
            "prompt_embeds": torch.randn(3, 12, 64, generator=rng),
            "pooled_prompt_embeds": torch.randn(3, 64, generator=rng),
        }
        for _ in range(4)
    ]


def never(*_: Any) -> None:
    raise AssertionError("nothing is left to measure")


def test_a_finished_cache_is_reused_without_running_the_model(
    model: nn.Module, batches: list[Any], tmp_path: Path
) -> None:
    first = calibrate(model, batches, stop=STOP, cache=tmp_path / "c", similarity=True)
    handle = model.register_forward_pre_hook(never)
    again = calibrate(model, batches, stop=STOP, cache=tmp_path / "c", similarity=True)
    handle.remove()
    assert [each.line for each in again.records] == [each.line for each in first.records]
    assert again.folder == tmp_path / "c"
    memory = calibrate(model, batches, stop=STOP)
    assert [each.line for each in memory.records] == [each.line for each in first.records]
    assert memory.settings == first.settings


class Interrupted(Exception):  # noqa: N818
    pass


def test_interrupted_anywhere_it_goes_on_and_ends_the_same(
    model: nn.Module, batches: list[Any], tmp_path: Path
) -> None:
    calibrate(model, batches, stop=STOP, cache=tmp_path / "whole", similarity=True)
    whole = tmp_path / "whole"
    runs = 0

    def count(*_: Any) -> None:
        nonlocal runs
        runs += 1
        if runs == 4:
            raise Interrupted

    handle = model.register_forward_pre_hook(count)
    with pytest.raises(Interrupted):
        calibrate(model, batches, stop=STOP, cache=tmp_path / "cut", similarity=True)
    assert records_in(tmp_path / "cut").count(b"\n") == 9
    # a kill may also cut a batch in two
    lines = records_in(tmp_path / "cut").splitlines(keepends=True)
    (tmp_path / "cut" / RECORDS).write_bytes(b"".join(lines[:8]) + lines[8][:20])
    runs = -1000
    calibrate(model, batches, stop=STOP, cache=tmp_path / "cut", similarity=True)
    assert runs == -1000 + 8, "the batch that was cut, and those behind it"
    handle.remove()
    for name in (RECORDS, SIMILARITY):
        assert (tmp_path / "cut" / name).read_bytes() == (whole / name).read_bytes()


def test_more_samples_go_on_where_fewer_ended(
    model: nn.Module, batches: list[Any], tmp_path: Path
) -> None:
    calibrate(model, batches, stop=Stop(samples=20), cache=tmp_path / "c")
    before = records_in(tmp_path / "c")
    more = calibrate(model, batches, stop=STOP, cache=tmp_path / "c")
    assert len(more.records) == 30
    assert records_in(tmp_path / "c").startswith(before)
    calibrate(model, batches, stop=STOP, cache=tmp_path / "whole")
    assert records_in(tmp_path / "whole") == records_in(tmp_path / "c")


def test_another_model_other_batches_or_another_forward_are_refused(
    model: nn.Module, batches: list[Any], tmp_path: Path
) -> None:
    cache = tmp_path / "c"
    calibrate(model, batches, stop=STOP, cache=cache, data="digits")

    def refused(key: str, *arguments: Any, **options: Any) -> None:
        with pytest.raises(LokrWeightingError, match=f"holds a calibration with {key} = "):
            calibrate(*arguments, **{"stop": STOP, "cache": cache, "data": "digits", **options})

    refused("weights", model_and_inputs("sd3", seed=1)[0], batches)
    refused("batches", model, batches[:3])
    refused("data", model, batches, data="faces")
    refused("seed", model, batches, seed=1)
    refused("forward", model, batches, never)
    assert read_calibration(cache).heatmaps().description == "calibration on digits"


def test_a_folder_of_something_else_is_left_alone(
    model: nn.Module, batches: list[Any], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(LokrWeightingError, match="is not empty and holds no calibration"):
        calibrate(model, batches, stop=STOP, cache=tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_every_command_reads_a_cache(
    model: nn.Module, batches: list[Any], cli: Callable[..., Run]
) -> None:
    calibrate(model, batches, stop=STOP, cache="c", similarity=True)
    saved = calibrate(model, batches, stop=STOP, similarity=True).save("saved")
    assert read_calibration(saved).settings == read_calibration(Path("c")).settings
    model.save_pretrained("model")  # pyright: ignore[reportCallIssue]
    plan = cli("plan", "--calibration", "c", "--model", "model", "--json", "--no-read-back")
    assert plan.code == 0, plan.err
    own = make_plan(read_calibration(Path("c")), model)
    assert plan.json["parameters"] == own.parameters
    for command in (("report", "c", "--model", "model"), ("findings", "c"), ("similarity", "c")):
        run = cli(*command)
        assert run.code == 0, run.err
    assert cli("diff", "c", "saved", "--model", "model").code == 0
    # what was saved is a cache too
    assert len(calibrate(model, batches, stop=STOP, cache="saved").records) == 30
    assert not (Path("saved") / NOT_FINITE).exists()


def test_the_samples_of_a_batch_are_numbered_alike_wherever_a_run_begins() -> None:
    def batches() -> Iterator[dict[str, Any]]:
        while True:
            yield {"caption": ["a", "b", "c"], "latents": torch.zeros(3)}

    whole = numbered(batches(), Stop(samples=20), 10)
    expected = [next(whole)[:2] for _ in range(7)]
    assert expected[-1] == (range(18, 21), range(18, 20))
    rest = numbered(batches(), Stop(samples=20), 10, done=7)
    assert next(rest)[:2] == (range(6, 9), range(7, 9))
    assert next(rest)[:2] == expected[3]


def test_batches_in_memory_are_known_by_content_others_by_number() -> None:
    rows = [{"latents": torch.zeros(2), "caption": "a", "size": (1, 2), "of": None}]
    assert content_of(rows) == content_of([dict(rows[0])])
    assert content_of(rows) != content_of([{**rows[0], "caption": "b"}])
    assert content_of(rows) != content_of([{**rows[0], "latents": torch.ones(2)}])
    loader = torch.utils.data.DataLoader(rows, shuffle=True)  # pyright: ignore[reportArgumentType]
    assert content_of(loader) == content_of(rows)
    tensors = torch.utils.data.TensorDataset(torch.zeros(7))
    assert content_of(torch.utils.data.DataLoader(tensors)) == "7 of TensorDataset"
    assert content_of(iter(rows)) == "list_iterator"
    assert content_of([object()]) == content_of([object()])
