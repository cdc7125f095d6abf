"""Figures of a measurement and a plan; the first three are the SD3.5-Large study's, on any data.

Plain matplotlib figures: `figure.savefig("name.png")` or .svg. All colours can be told apart by
colour-blind readers, and every axis says what it shows. An axes' label, which is not drawn, names
the numbers that a page shows under the pointer (`cells`).
"""

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from lokr_weighting.files import write_bytes
from lokr_weighting.plan.plan import Plan
from lokr_weighting.plan.settled import Settled
from lokr_weighting.records.heatmaps import Heatmaps

CLIP = 95
COLOURS = "viridis"
BLUE, ORANGE = "#0072B2", "#D55E00"  # of Okabe and Ito's palette
DISTANCE = "mean angular distance (half turns)"
TICKS = 20  # at most so many block numbers are written


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as STEM.png and STEM.svg; the two files."""
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "svg")]
    for file in files:
        save_as(figure, file)
    return files


def save_as(figure: Figure, file: Path, dpi: int = 150) -> None:
    """Write a figure in the format of its suffix, whole or not at all; the same bytes each time."""
    drawn = io.BytesIO()
    metadata = {"Date": None} if file.suffix == ".svg" else None
    with matplotlib.rc_context({"svg.hashsalt": file.stem}):
        figure.savefig(drawn, format=file.suffix[1:], dpi=dpi, metadata=metadata)
    write_bytes(file, drawn.getvalue())


def scales(heatmap: np.ndarray) -> dict[str, tuple[np.ndarray, Normalize]]:
    """A heatmap in the study's three ways: the numbers that are drawn, and how they are coloured.

    Args:
        heatmap: (bins, blocks) without NaN.
    """
    logarithmic = np.log1p(heatmap)
    clipped = np.clip(heatmap, None, np.percentile(heatmap, CLIP))
    return {
        "linear": (heatmap, Normalize(heatmap.min(), heatmap.max())),
        "logarithmic": (
            logarithmic,
            LogNorm(max(logarithmic.min(), 1e-8), logarithmic.max()),
        ),
        f"clipped at the {CLIP}th percentile": (
            clipped,
            Normalize(clipped.min(), clipped.max()),
        ),
    }


def combined(heatmaps: Heatmaps) -> dict[str, tuple[np.ndarray, Normalize]]:
    """Both streams' mean in the three ways, over the blocks that have both (Figure 2)."""
    has_image, has_text = heatmaps.has_image, heatmaps.has_text
    image, text = scales(heatmaps.image[:, has_image]), scales(heatmaps.text[:, has_text])
    means = {}
    for name in image:
        mean = (image[name][0][:, has_text[has_image]] + text[name][0][:, has_image[has_text]]) / 2
        norm = LogNorm if name == "logarithmic" else Normalize
        means[name] = (mean, norm(max(mean.min(), 1e-8), mean.max()))
    return means


def every_tick(numbers: int) -> int:
    """Of so many block numbers, every how many-th is written."""
    return -(-numbers // TICKS)


def streams_figure(heatmaps: Heatmaps) -> Figure:
    """Both streams' heatmaps, linear, logarithmic and clipped (the study's Figure 1)."""
    columns = [
        (stream, heatmap[:, has], np.flatnonzero(has).tolist())
        for stream, heatmap, has in (
            ("image", heatmaps.image, heatmaps.has_image),
            ("text", heatmaps.text, heatmaps.has_text),
        )
    ]
    columns = [column for column in columns if column[1].size]
    figure = Figure(figsize=(7 * len(columns), 9), layout="constrained")
    axes = np.array(figure.subplots(3, len(columns), squeeze=False))
    for column, (stream, heatmap, blocks) in enumerate(columns):
        for row, (name, (values, norm)) in enumerate(scales(heatmap).items()):
            draw_heatmap(figure, axes[row, column], values, norm, blocks)
            axes[row, column].set_title(f"{stream} stream, {name}")
            axes[row, column].set_label(stream)
    return figure


def combined_figure(heatmaps: Heatmaps) -> Figure:
    """The mean of both streams, linear, logarithmic and clipped (the study's Figure 2)."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = np.array(figure.subplots(3, 1))
    blocks = np.flatnonzero(heatmaps.has_image & heatmaps.has_text).tolist()
    for ax, (name, (values, norm)) in zip(axes, combined(heatmaps).items(), strict=True):
        draw_heatmap(figure, ax, values, norm, blocks)
        ax.set_title(f"both streams, {name}")
        ax.set_label("both")
    return figure


def factors_figure(plan: Plan) -> Figure:
    """The factor of each block (the study's Figure 3); critical blocks are hatched.

    Where each Linear has its own, the mean of the block's is drawn; a block that is left out of the
    plan has no bar.
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    ax = figure.subplots()
    factors = [block.factor or _mean_factor(plan, index) for index, block in enumerate(plan.blocks)]
    bars = ax.bar(range(len(factors)), factors, color=BLUE)
    for index in plan.critical:
        bars[index].set(facecolor=ORANGE, edgecolor="black", hatch="//")
        ax.text(index, factors[index] + 0.2, "critical", rotation=90, ha="center", fontsize=7)
    ax.set(xlabel="block", ylabel="factor (less is more parameters)", label="factor")
    _block_ticks(ax, range(len(factors)))
    return figure


def _mean_factor(plan: Plan, block: int) -> float:
    factors = [linear.factor for linear in plan.linears if linear.block == block]
    return float(np.mean(factors)) if factors else 0.0


def contributions_figure(plan: Plan) -> Figure:
    """The contribution of each block with its standard error, and its share of the parameters."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    numbers = range(len(plan.blocks))
    upper.errorbar(
        numbers,
        [block.contribution for block in plan.blocks],
        [block.contribution_error or 0 for block in plan.blocks],
        fmt="o",
        color=BLUE,
        ecolor="black",
        capsize=2,
    )
    upper.set(ylabel="contribution ± standard error", ylim=(-0.05, 1.05), label="contribution")
    shares = [100 * plan.parameters_of(index) / plan.parameters for index in numbers]
    lower.bar(numbers, shares, color=BLUE)
    lower.set(xlabel="block", ylabel="share of parameters (%)", label="share")
    _block_ticks(lower, numbers)
    return figure


def settling_figure(judged: Sequence[Settled]) -> Figure:
    """How the plan settled: what resampling did to it after so many samples."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    ax = figure.subplots()
    samples = [each.samples for each in judged]
    for name, values, colour, marker in (
        ("every split within one of the plan's", [each.near for each in judged], BLUE, "o"),
        ("the very same plan", [each.same for each in judged], ORANGE, "s"),
    ):
        ax.plot(samples, [100 * value for value in values], color=colour, marker=marker)
        ax.text(samples[-1], 100 * values[-1], f"  {name}", color=colour, va="center")
    ax.set(xlabel="samples", ylabel="resamples (%)", ylim=(-3, 103))
    ax.margins(x=0.25)
    ax.spines[["top", "right"]].set_visible(False)  # the labels may reach beyond
    return figure


def draw_heatmap(
    figure: Figure, ax: Axes, values: np.ndarray, norm: Normalize, blocks: Sequence[int]
) -> None:
    """One heatmap: blocks across, timestep bins upwards."""
    bins, columns = values.shape
    image = ax.imshow(
        values, cmap=COLOURS, norm=norm, origin="lower", interpolation="nearest", aspect="auto"
    )
    edges = np.linspace(0, 1, bins + 1)
    ax.set_yticks(range(bins), [f"{low:.1f}-{high:.1f}" for low, high in pairwise(edges)])
    every = every_tick(columns)
    ax.set_xticks(range(0, columns, every), [str(block) for block in blocks[::every]])
    ax.set(xlabel="block", ylabel="timestep (1: noise)")
    figure.colorbar(image, ax=ax, label=DISTANCE)


def _block_ticks(ax: Axes, numbers: Sequence[int]) -> None:
    ax.set_xticks(list(numbers)[:: every_tick(len(numbers))])
