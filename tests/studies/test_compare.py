"""Comparisons resume exactly, refuse what is something else, and see what is there to be seen."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from lokr_weighting import Job, LokrWeightingError, make_plan, write_plan
from lokr_weighting.files import write_json
from lokr_weighting.models.loading import load_pipeline
from lokr_weighting.studies import training
from lokr_weighting.studies.compare import RUNS, _Comparing, compare_folder
from lokr_weighting.studies.comparison import Setup, run_file
from tests.conftest import random_heatmaps
from tests.inputs import job, write_digits

TINY = Setup(
    plans=("weighted", "uniform"),
    budget="uniform:4",
    steps=10,
    batch=2,
    seeds=2,
    rates=(1e-3, 1e-2),
    samples=40,
    text_tokens=8,
)


def numbers(data: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on the machine's mood."""
    plans = [
        {key: value for key, value in plan.items() if key not in ("seconds", "peak_bytes")}
        for plan in data["plans"]
    ]
    return data | {"plans": plans}


@pytest.mark.slow
def test_stopped_anywhere_it_goes_on_to_the_same_numbers(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    this = job(pipelines("sd3"), images)
    whole = compare_folder(this, tmp_path / "whole", TINY)

    def interrupt(done: int, _: int) -> None:
        if done == 37:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare_folder(this, tmp_path / "cut", TINY, on_progress=interrupt)
    kept = {file.name: file.read_bytes() for file in (tmp_path / "cut" / RUNS).iterdir()}
    assert len(kept) == 3
    seen: list[int] = []
    cut = compare_folder(
        this, tmp_path / "cut", TINY, on_progress=lambda done, _: seen.append(done)
    )
    assert numbers(cut.as_json()) == numbers(whole.as_json())
    for name, data in kept.items():
        assert (tmp_path / "cut" / RUNS / name).read_bytes() == data
    again = compare_folder(this, tmp_path / "cut", TINY, on_progress=interrupt)
    assert again.as_json() == cut.as_json()
    # what was asked for is what was done: every plan's runs and its own best rate
    for plan in cut.as_json()["plans"]:
        rates = [rate for rate, _ in plan["tried"]]
        assert plan["rate"] in rates
        assert plan["on_edge"] == (plan["rate"] in (min(rates), max(rates)))
        for seed in (1, 2):
            name = run_file(plan["name"], plan["rate"], seed)
            assert (tmp_path / "cut" / RUNS / name).exists()
    broken = next((tmp_path / "cut" / RUNS).glob("uniform.*seed1.json"))
    broken.write_text(broken.read_text().replace('"plan": "', '"plan": "another'))
    with pytest.raises(LokrWeightingError, match="was trained with another plan of that name"):
        compare_folder(this, tmp_path / "cut", TINY)
    with pytest.raises(LokrWeightingError, match="a comparison with steps = 10, this one has 20"):
        compare_folder(this, tmp_path / "cut", TINY.model_copy(update={"steps": 20}))


@pytest.mark.slow
def test_two_processes_share_the_trainings_and_get_the_same(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    options = ["--model", pipelines("sd3"), "--data", images, "--resolution", 64]
    options += ["--plans", "weighted,uniform", "--budget", "uniform:4", "--steps", 10]
    options += ["--batch", 2, "--seeds", 2, "--rates", "1e-3,1e-2", "--samples", 40]
    options += ["--text-tokens", 8]
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29619"]
    for name, way in {"one": [], "two": launch}.items():
        command = [sys.executable, *way, "-m", "lokr_weighting", "compare"]
        arguments = [*map(str, options), "--output", str(tmp_path / name)]
        subprocess.run([*command, *arguments], check=True)
    one, two = (
        json.loads((tmp_path / name / "comparison.json").read_text()) for name in ("one", "two")
    )
    assert numbers(one) == numbers(two)


@pytest.mark.slow
def test_a_plan_that_is_made_to_be_bad_loses_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its capacity is in blocks whose output is then ignored."""
    ignored = range(4, 11)

    def hand_on(_module: nn.Module, _args: Any, kwargs: dict[str, Any], _output: Any) -> Any:
        return kwargs["encoder_hidden_states"], kwargs["hidden_states"]

    def load(*arguments: Any) -> Any:
        pipeline = load_pipeline(*arguments)
        for index in ignored:
            block = pipeline.transformer.transformer_blocks[index]
            block.register_forward_hook(hand_on, with_kwargs=True)
        return pipeline

    monkeypatch.setattr(training, "load_pipeline", load)
    shares = np.zeros(12)
    shares[list(ignored)] = 1
    plan = make_plan(random_heatmaps(12), "digits", budget="uniform:4", contributions=shares)
    assert plan.parameters_of(*ignored) > 0.8 * plan.parameters
    write_plan(tmp_path / "bad.json", plan)
    setup = Setup(
        plans=("uniform", str(tmp_path / "bad.json")),
        budget="uniform:4",
        steps=30,
        seeds=4,
        rates=(6e-3, 2e-2),
        samples=80,
        text_tokens=8,
    )
    data = write_digits(tmp_path / "data", 60, "--invert")
    comparison = compare_folder(Job("digits", data), tmp_path / "c", setup)
    (bad,) = [each for each in comparison.compared if each.difference is not None]
    assert bad.difference is not None
    assert bad.difference.low > 0
    assert comparison.verdicts[0].startswith("bad beside uniform: worse, by +")


def test_settings_that_make_no_sense_are_refused() -> None:
    for change, message in (
        ({"rates": (1e-2, 1e-3)}, "must grow"),
        ({"reference": "inverse"}, "the reference 'inverse' is not among the plans"),
        ({"seeds": 1}, "greater than or equal to 2"),
    ):
        with pytest.raises(ValueError, match=message):
            Setup.model_validate(TINY.model_dump() | change)


def test_samples_that_are_all_of_one_image_are_refused(
    pipelines: Callable[[str], Path],
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # drawn by chance, which nobody could wait for
    monkeypatch.setattr(training.Bench, "images", np.zeros(20, dtype=int))
    setup = TINY.model_copy(update={"samples": 20})
    with pytest.raises(LokrWeightingError, match="samples = 20: all that compare are of one image"):
        compare_folder(job(pipelines("sd3"), images), tmp_path / "c", setup)


def test_a_run_of_another_number_of_samples_is_refused(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(
        file="r.json", arm=SimpleNamespace(plan=SimpleNamespace(identity="0"))
    )
    comparing = _Comparing(SimpleNamespace(), TINY, tmp_path, (0, 1), lambda *_: None)  # pyright: ignore[reportArgumentType]
    data = {"arm": "a", "plan": "0", "rate": 1, "seed": 0, "parameters": 1, "losses": [0.5] * 3}
    write_json(tmp_path / RUNS / "r.json", data | {"kept": [], "seconds": 1, "peak_bytes": 0})
    with pytest.raises(LokrWeightingError, match=r"r.json: losses has 3 numbers of 40 samples"):
        comparing._read(run)
