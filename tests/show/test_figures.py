from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage

from lokr_weighting import Heatmaps, load_reference, make_plan
from lokr_weighting.show.figures import (
    combined_figure,
    contributions_figure,
    factors_figure,
    streams_figure,
)
from tests import mixed
from tests.conftest import random_heatmaps


def images(figure: object) -> list[AxesImage]:
    return [image for ax in figure.axes for image in ax.get_images()]  # pyright: ignore


def coloured(values: np.ndarray, norm: Normalize) -> np.ndarray:
    from matplotlib import colormaps

    return colormaps["viridis"](norm(values))


def test_the_studys_first_figure_is_drawn_cell_for_cell() -> None:
    """Its notebook: as it is, log1p under a logarithmic norm, clipped at the 95th percentile."""
    reference = load_reference("sd3.5-large")
    found = images(streams_figure(reference))
    assert len(found) == 6
    for column, heatmap in enumerate((reference.image, reference.text[:, :-1])):
        logarithmic = np.log1p(heatmap)
        clipped = np.clip(heatmap, None, np.percentile(heatmap, 95))
        expected = [
            coloured(heatmap, Normalize(heatmap.min(), heatmap.max())),
            coloured(logarithmic, LogNorm(logarithmic.min(), logarithmic.max())),
            coloured(clipped, Normalize(clipped.min(), clipped.max())),
        ]
        for row, colours in enumerate(expected):
            image = found[2 * row + column]
            drawn = image.cmap(image.norm(image.get_array()))  # pyright: ignore
            assert np.array_equal(drawn, colours)
            assert image.origin == "lower"  # pyright: ignore


def test_the_studys_second_figure_is_the_mean_of_both_streams() -> None:
    reference = load_reference("sd3.5-large")
    linear, logarithmic, clipped = images(combined_figure(reference))
    image, text = reference.image[:, :-1], reference.text[:, :-1]
    assert np.allclose(linear.get_array(), (image + text) / 2)  # pyright: ignore
    assert np.allclose(logarithmic.get_array(), (np.log1p(image) + np.log1p(text)) / 2)  # pyright: ignore
    expected = (
        np.clip(image, None, np.percentile(reference.image, 95))
        + np.clip(text, None, np.percentile(text, 95))
    ) / 2
    assert np.allclose(clipped.get_array(), expected)  # pyright: ignore


def test_the_studys_third_figure_has_the_published_factors(published_factors: list[int]) -> None:
    figure = factors_figure(make_plan(load_reference("sd3.5-large"), "sd3.5-large"))
    (ax,) = figure.axes
    heights = [patch.get_height() for patch in ax.patches]  # pyright: ignore
    assert heights == published_factors


@pytest.mark.parametrize("without_text", [0, 1, 6])
def test_figures_of_any_measurement_have_labelled_axes(tmp_path: Path, without_text: int) -> None:
    heatmaps = random_heatmaps(6, without_text=without_text, bins=4)
    figures = [streams_figure(heatmaps)]
    if without_text < 6:
        figures.append(combined_figure(heatmaps))
    for number, figure in enumerate(figures):
        for ax in figure.axes:
            assert ax.get_ylabel()
        figure.savefig(tmp_path / f"{number}.png")
        figure.savefig(tmp_path / f"{number}.svg")


def test_standard_errors_are_drawn() -> None:
    heatmaps = load_reference("sd3.5-large")
    plan = make_plan(heatmaps, "sd3.5-large")
    upper, lower = contributions_figure(plan).axes
    assert "standard error" in upper.get_ylabel()
    shares = [patch.get_height() for patch in lower.patches]  # pyright: ignore
    assert sum(shares) == pytest.approx(100)


def test_a_constant_heatmap_is_drawn_too(tmp_path: Path) -> None:
    heatmaps = Heatmaps(np.full((4, 3), 0.1), np.full((4, 3), 0.1))
    streams_figure(heatmaps).savefig(tmp_path / "constant.png")


def test_blocks_without_a_stream_are_left_out_and_the_others_keep_their_numbers() -> None:
    heatmaps = mixed.heatmaps()
    figure = streams_figure(heatmaps)
    for column, missing in enumerate((mixed.TEXT, mixed.IMAGE)):
        stream = (heatmaps.image, heatmaps.text)[column]
        shown = images(figure)[column].get_array()
        assert np.array_equal(shown, np.delete(stream, missing, axis=1))  # pyright: ignore
        ticks = [label.get_text() for label in figure.axes[column].get_xticklabels()]
        assert ticks == [str(block) for block in range(10) if block not in missing]
    both = images(combined_figure(heatmaps))[0].get_array()
    mean = (heatmaps.image + heatmaps.text)[:, 4:] / 2
    assert np.array_equal(both, mean)  # pyright: ignore
