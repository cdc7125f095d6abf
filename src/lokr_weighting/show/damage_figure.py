"""The damage of skipping each block beside its distance, by timestep."""

from itertools import pairwise

import numpy as np
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from lokr_weighting.show.figures import CLIP, COLOURS, DISTANCE, every_tick
from lokr_weighting.studies.ablation import Ablation

DIVERGING = "PuOr_r"  # orange is damage; to be told apart by colour-blind readers


def damage_by_bin_figure(ablation: Ablation) -> Figure | None:
    """Three heatmaps, blocks across and timestep bins upwards: damage, and each stream's distance.

    Colours end at the 95th percentile. None where the file does not know distances by timestep, or
    no block was skipped alone.

    Args:
        ablation: what was measured.
    """
    seen, damage = ablation.samples_seen, ablation.damage
    if seen is None or not damage:
        return None
    bins = len(seen.image)
    missing = np.full(bins, np.nan)
    costs = np.stack(
        [damage[name].by_bin if name in damage else missing for name in ablation.blocks], axis=1
    )
    panels = [("damage: change of the loss when the block is skipped", costs)]
    panels += [
        (f"{stream} stream", heatmap)
        for stream, heatmap in (("image", seen.image), ("text", seen.text))
        if not np.isnan(heatmap).all()
    ]
    blocks = len(ablation.blocks)
    width = min(7.5, 3 + 0.3 * blocks)
    figure = Figure(figsize=(width * len(panels), 4.6), layout="constrained")
    axes = np.array(figure.subplots(1, len(panels), squeeze=False))[0]
    edges = np.linspace(0, 1, bins + 1)
    for ax, (title, values) in zip(axes, panels, strict=True):
        image = ax.imshow(
            values,
            cmap=DIVERGING if ax is axes[0] else COLOURS,
            norm=_around_zero(values) if ax is axes[0] else _clipped(values),
            origin="lower",
            aspect="auto",
            interpolation="nearest",
        )
        ax.set_title(title, loc="left", fontsize=10)
        ax.set(xlabel="block", ylabel="timestep (1: noise)")
        ax.set_xticks(range(0, blocks, every_tick(blocks)))
        ax.set_yticks(range(bins), [f"{low:.1f}-{high:.1f}" for low, high in pairwise(edges)])
        label = "change of the loss" if ax is axes[0] else DISTANCE
        figure.colorbar(image, ax=ax, label=label, extend="max")
    return figure


def _clipped(values: np.ndarray) -> Normalize:
    return Normalize(np.nanmin(values), np.nanpercentile(values, CLIP))


def _around_zero(values: np.ndarray) -> Normalize:
    """Zero in the middle, where skipping costs nothing; as far on both sides."""
    most = max(float(np.nanpercentile(np.abs(values), CLIP)), 1e-12)
    return TwoSlopeNorm(0, -most, most)
