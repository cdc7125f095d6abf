"""A comparison's table, figures and page, on made-up results."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import Recipe
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.show.comparison import (
    COLUMNS,
    bins_figure,
    comparison_remarks,
    comparison_rows,
    difference_figure,
    rates_figure,
    write_comparison,
)
from lokr_weighting.studies.comparison import Comparison, RunFile, Setup, compared
from lokr_weighting.studies.rivals import arms_of, ground_for
from tests.conftest import random_heatmaps

NAMES = ("weighted", "uniform", "random")
SETUP = Setup(plans=NAMES, budget="uniform:4", seeds=3, samples=80, draws=2)
JOB = {"model": "digits", "images": 40, "data": "d", "weights": "w", "seed": 0}
JOB |= {"resolution": 64, "dtype": "float32"}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """`weighted` is better by 0.05, the random draws do not differ."""
    digits = load_skeleton("digits")
    ground = ground_for(random_heatmaps(12), digits, Recipe(), "uniform:4")
    arms = arms_of(NAMES, ground, SETUP.draws)
    rng = np.random.default_rng(0)
    images, timesteps = np.arange(80) % 7, (np.arange(80) % 10 + 0.5) / 10
    common = rng.uniform(0.4, 0.8, 80)
    better = {"weighted": 0.05}

    def runs(name: str) -> list[RunFile]:
        return [
            RunFile(
                arm=name,
                plan="p",
                rate=6e-3,
                seed=seed,
                parameters=1,
                losses=(common - better.get(name, 0) + rng.normal(0, 0.005, 80)).tolist(),
                kept=[0.5],
                seconds=2.0,
                peak_bytes=2**30,
            )
            for seed in (1, 2, 3)
        ]

    results = {arm.name: runs(arm.name) for arm in arms}
    tried = {2e-3: 0.7, 6e-3: 0.6, 2e-2: 0.65}
    edge = {2e-3: 0.7, 6e-3: 0.6}
    return Comparison(
        SETUP,
        JOB,
        ground.parameters,
        0.9,
        0.55,
        tuple(images.tolist()),
        tuple(
            compared(
                arm,
                edge if arm.name == "random-2" else tried,
                results,
                SETUP,
                images,
                timesteps,
            )
            for arm in arms
        ),
    )


def test_a_difference_that_is_there_is_said_and_one_that_is_not_is_not(
    comparison: Comparison,
) -> None:
    weighted, *random = comparison.verdicts
    assert weighted.startswith("weighted beside uniform: better, by -5")
    for verdict in random:
        assert "no difference could be shown" in verdict
        assert "seeds" in verdict


def test_the_table_names_each_plan_its_rate_and_its_interval(comparison: Comparison) -> None:
    rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in comparison_rows(comparison)}
    assert list(rows) == ["weighted", "uniform", "random-1", "random-2"]
    assert rows["uniform"]["difference (1e-3)"] == "-"
    assert float(rows["weighted"]["difference (1e-3)"]) == pytest.approx(-50, abs=5)
    assert rows["random-2"]["learning rate"] == "0.006*"
    assert rows["random-1"]["learning rate"] == "0.006"
    remarks = " ".join(comparison_remarks(comparison))
    assert "On the edge of what was tried (marked *): random-2." in remarks
    assert "random: 2 draws, differences" in remarks
    assert "0.5500 as the model is" in remarks


def test_figures_show_every_plan_but_the_reference_with_labelled_axes(
    comparison: Comparison,
) -> None:
    (ax,) = difference_figure(comparison).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "weighted",
        "random-1",
        "random-2",
    ]
    drawn = [ax for ax in bins_figure(comparison).axes if ax.axison]
    assert [ax.get_title(loc="left") for ax in drawn] == ["weighted", "random-1", "random-2"]
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in drawn)
    (ax,) = rates_figure(comparison).axes
    assert len(ax.get_lines()) == 4


def test_the_page_needs_no_network_and_says_how_it_was_compared(
    comparison: Comparison, tmp_path: Path
) -> None:
    files = write_comparison(tmp_path / "page.html", comparison)
    page = files[0].read_text()
    assert page.count("<svg") == 3
    assert not re.search(r"<script [^>]*src|<link|src=\"http|url\(http|@import", page)
    assert "the same factor everywhere" in page
    assert "7 images, 40 samples to compare on" in page
    assert all(file.stat().st_size > 1000 for file in files)


def test_a_plan_of_which_a_run_diverged_is_not_compared_and_the_others_are(
    comparison: Comparison,
) -> None:
    weighted, uniform = comparison.compared[:2]
    good = RunFile(
        arm="x",
        plan="p",
        rate=1,
        seed=1,
        parameters=1,
        losses=[0.5] * 80,
        kept=[0.5],
        seconds=1,
        peak_bytes=1,
    )
    broken = good.model_copy(update={"losses": [None] * 80, "kept": [None]})
    results = {"weighted": [good, broken, good], "uniform": [good] * 3}
    images, times = np.arange(80) % 7, (np.arange(80) % 10 + 0.5) / 10
    of = {
        each.arm.name: compared(
            each.arm, {1.0: float("inf"), 2.0: 0.5}, results, SETUP, images, times
        )
        for each in (weighted, uniform)
    }
    assert (of["weighted"].diverged, of["weighted"].difference, of["weighted"].loss) == (
        1,
        None,
        None,
    )
    changed = replace(comparison, compared=tuple(of.values()))
    assert "1 of 3 trainings diverged at its best learning rate" in changed.verdicts[0]
    assert "diverged" in comparison_rows(changed)[0]
    assert json.dumps(changed.as_json(), allow_nan=False)
