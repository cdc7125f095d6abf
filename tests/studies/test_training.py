"""Trainings that are alike in all but the plan, and leave the model as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lokr_weighting import LokrWeightingError, Recipe
from lokr_weighting.data.folder import find_images
from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.studies.rivals import Arm, arms_of, ground_for
from lokr_weighting.studies.training import Bench, Training, parts_of
from tests.conftest import random_heatmaps
from tests.inputs import job
from tests.tiny_pipelines import KINDS

SHORT = Training(steps=12, batch=2, rate=1e-2, seed=1)


def bench_of(pipeline: Path, images: Path, keep: Path | None = None, **options: Any) -> Bench:
    prepared = job(pipeline, images, text_tokens=8).prepare(10, torch.device("cpu"))
    kept = None if keep is None else find_images(keep)
    options |= {"held_out": 0.3, "samples": 20, "batch": 5}
    return Bench(prepared, keep=kept, **options)


def arms(pipeline: Path, *names: str) -> list[Arm]:
    skeleton = load_skeleton(str(pipeline))
    heatmaps = random_heatmaps(len(block_names(skeleton)), without_text=1)
    return arms_of(names, ground_for(heatmaps, skeleton, Recipe(), "uniform:4"))


@pytest.mark.parametrize("kind", ["sd3", *(pytest.param(x, marks=pytest.mark.slow) for x in KINDS)])
def test_it_learns_in_every_family_and_leaves_the_model_bit_identical(
    kind: str, pipelines: Callable[[str], Path], images: Path
) -> None:
    bench = bench_of(pipelines(kind), images)
    before = {name: value.clone() for name, value in bench.transformer.state_dict().items()}
    base, kept = bench.losses()
    assert base.shape == (20,)
    assert kept.size == 0
    for arm in arms(pipelines(kind), "weighted", "lora"):
        trained = bench.train(arm, replace(SHORT, steps=30))
        assert trained.losses.mean() < base.mean(), arm.name
        assert abs(trained.parameters / arm.plan.parameters - 1) < 0.03
        assert trained.seconds > 0
        assert trained.peak_bytes > 2**20
    after = bench.transformer.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())
    assert np.array_equal(bench.losses()[0], base)


def test_the_same_training_gives_the_same_losses_and_another_start_others(
    pipelines: Callable[[str], Path], images: Path
) -> None:
    bench = bench_of(pipelines("sd3"), images, keep=images)
    first, again = arms(pipelines("sd3"), "uniform", "uniform#2")
    losses = bench.train(first, SHORT)
    assert losses.kept.shape == (20,)
    same = bench.train(first, SHORT)
    assert np.array_equal(losses.losses, same.losses)
    assert np.array_equal(losses.kept, same.kept)
    # also in another process, after other trainings
    fresh = bench_of(pipelines("sd3"), images, keep=images).train(first, SHORT)
    assert np.array_equal(losses.losses, fresh.losses)
    for other in (bench.train(again, SHORT), bench.train(first, replace(SHORT, seed=2))):
        assert not np.array_equal(losses.losses, other.losses)


def test_a_training_that_diverges_says_so_with_its_losses(
    pipelines: Callable[[str], Path], images: Path
) -> None:
    bench = bench_of(pipelines("sd3"), images)
    base, _ = bench.losses()
    (arm,) = arms(pipelines("sd3"), "uniform")
    wild = bench.train(arm, replace(SHORT, rate=1e20))
    assert np.isnan(wild.losses).all()
    assert np.array_equal(bench.losses()[0], base)


def test_an_interrupted_training_leaves_the_model_as_it_was(
    pipelines: Callable[[str], Path], images: Path
) -> None:
    bench = bench_of(pipelines("sd3"), images)
    base, _ = bench.losses()
    (arm,) = arms(pipelines("sd3"), "uniform")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.train(arm, SHORT, interrupt)
    assert np.array_equal(bench.losses()[0], base)
    assert np.isfinite(bench.train(arm, SHORT).losses).all()


def test_with_gradient_checkpointing_it_learns_the_same(
    pipelines: Callable[[str], Path], images: Path
) -> None:
    (arm,) = arms(pipelines("sd3"), "weighted")
    plain, lean = (
        bench_of(pipelines("sd3"), images, checkpointing=each).train(arm, SHORT).losses
        for each in (False, True)
    )
    np.testing.assert_allclose(lean, plain, rtol=1e-3)


def test_no_image_is_both_trained_on_and_held_out(images: Path) -> None:
    every = find_images(images)
    for seed in range(5):
        trained, tested = parts_of(every, 0.3, seed)
        names = [{item.name for item in part.items} for part in (trained, tested)]
        assert not names[0] & names[1]
        assert names[0] | names[1] == {item.name for item in every.items}
        assert len(names[1]) == 2
    few = replace(every, items=every.items[:3])
    with pytest.raises(LokrWeightingError, match="has 3 images; a comparison needs at least 4"):
        parts_of(few, 0.3, 0)
