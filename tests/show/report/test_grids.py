"""What the pointer shows is what was measured, and lies on what was drawn."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from lokr_weighting import Heatmaps, make_plan
from lokr_weighting.show.cells import areas
from lokr_weighting.show.figures import combined_figure, contributions_figure, streams_figure
from lokr_weighting.show.html import svg
from lokr_weighting.show.report.grids import grids_of
from lokr_weighting.show.study_figures import similarity_figure
from lokr_weighting.studies.findings import Finding
from lokr_weighting.studies.similarity import Similarity
from tests.conftest import random_heatmaps

BLOCKS = 12
NAMES = tuple(f"transformer_blocks.{block}" for block in range(BLOCKS))


@pytest.fixture(scope="module")
def heatmaps() -> Heatmaps:
    return random_heatmaps(BLOCKS)


def test_a_block_without_a_stream_has_no_column(heatmaps: Heatmaps) -> None:
    grids = grids_of(heatmaps, make_plan(heatmaps, "digits"))
    assert [len(grids[name].columns) for name in ("image", "text", "both", "share")] == [
        *(12, 11, 11, 12)
    ]
    assert grids["both"].cells[2][3] == (
        f"image {heatmaps.image[2, 3]:.4f}, text {heatmaps.text[2, 3]:.4f}, "
        f"mean {(heatmaps.image[2, 3] + heatmaps.text[2, 3]) / 2:.4f}"
    )


def test_standard_errors_and_findings_are_said_of_their_own_stream(heatmaps: Heatmaps) -> None:
    measured = Heatmaps(
        heatmaps.image,
        heatmaps.text,
        image_error=np.full(BLOCKS, 0.0123),
        text_error=np.full(BLOCKS, 0.0456),
    )
    found = [Finding("gradient", "image", (4,), -0.2, 0.01), Finding("idle", None, (4,), 0.4)]
    grids = grids_of(measured, make_plan(heatmaps, "digits"), found)
    assert grids["image"].notes[4].endswith("±0.0123\nfalls towards noise (image), idle (both)")
    assert grids["text"].notes[4].endswith("±0.0456\nidle (both)")
    assert grids["both"].notes[4] == "falls towards noise (image), idle (both)"
    assert "towards" not in grids["image"].notes[3]


def test_pairs_of_blocks_show_their_similarity(heatmaps: Heatmaps) -> None:
    image = np.linspace(-1, 1, BLOCKS**2).reshape(BLOCKS, BLOCKS)
    text = np.where(np.arange(BLOCKS) == 11, np.nan, image)
    similarity = Similarity("digits", NAMES, 10, image, text, None, None, ())
    grids = grids_of(heatmaps, make_plan(heatmaps, "digits"), similarity=similarity)
    assert grids["image similarity"].cells[3][5] == f"cosine {image[3, 5]:.4f}"
    assert grids["text similarity"].cells[3][11] == "-"
    figure = similarity_figure(similarity)
    svg(figure, "similarity", "")
    found = areas(figure, grids)
    # the first block is on top, unlike a heatmap's first bin
    assert [(area.grid, area.flipped) for area in found] == [
        ("image similarity", False),
        ("text similarity", False),
    ]


@pytest.mark.parametrize("draw", [streams_figure, combined_figure])
def test_cells_lie_on_their_axes(heatmaps: Heatmaps, draw: object) -> None:
    figure = draw(heatmaps)  # pyright: ignore
    svg(figure, "any", "")
    grids = grids_of(heatmaps, make_plan(heatmaps, "digits"))
    named = [ax for ax in figure.axes if ax.get_label() in grids]
    found = areas(figure, grids)
    assert len(found) == len(named) == (6 if draw is streams_figure else 3)
    for area, ax in zip(found, named, strict=True):
        box = ax.get_position()
        expected = [100 * x for x in (box.x0, 1 - box.y1, box.width, box.height)]
        assert [area.left, area.top, area.width, area.height] == pytest.approx(expected)
        assert area.flipped


def test_a_bars_column_is_as_wide_as_a_block(heatmaps: Heatmaps) -> None:
    plan = make_plan(heatmaps, "digits")
    figure: Figure = contributions_figure(plan)
    svg(figure, "any", "")
    upper, lower = areas(figure, grids_of(heatmaps, plan))
    assert (upper.grid, lower.grid) == ("contribution", "share")
    box = figure.axes[1].get_position()
    low, high = figure.axes[1].get_xlim()
    assert lower.width == pytest.approx(100 * box.width * BLOCKS / (high - low))
    assert lower.height == pytest.approx(100 * box.height)
