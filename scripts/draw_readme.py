"""Draw the README's picture: the published measurement of SD3.5-Large, and its plan under a budget.

Run: python scripts/draw_readme.py
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lokr_weighting import load_reference, make_plan
from lokr_weighting.show.figures import BLUE, COLOURS, ORANGE, save_as, scales

MODEL, BUDGET = "sd3.5-large", "120M"
CLIPPED = "clipped at the 95th percentile"
PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "sd3.5-large-120M.png"


def picture() -> Figure:
    """Both streams' heatmaps, clipped, and below them what each block gets."""
    heatmaps = load_reference(MODEL)
    plan = make_plan(heatmaps, MODEL, budget=BUDGET)
    figure = Figure(figsize=(10, 6.2), layout="constrained")
    axes = np.array(figure.subplots(3, 2, width_ratios=(50, 1), height_ratios=(3, 3, 2.4)))
    for (ax, bar), (stream, heatmap, has) in zip(
        axes,
        (
            ("image", heatmaps.image, heatmaps.has_image),
            ("text", heatmaps.text, heatmaps.has_text),
        ),
        strict=False,
    ):
        values, norm = scales(heatmap[:, has])[CLIPPED]
        edges = np.flatnonzero(has)[[0, -1]] + (-0.5, 0.5)
        drawn = ax.imshow(
            values, cmap=COLOURS, norm=norm, origin="lower", aspect="auto", extent=(*edges, 0, 1)
        )
        ax.set(
            title=f"{stream} stream: how far each block turns it (half turns, {CLIPPED})",
            ylabel="timestep (1: noise)",
            xlim=(-0.5, len(plan.blocks) - 0.5),
        )
        figure.colorbar(drawn, cax=bar)
    ax, empty = axes[2]
    empty.set_axis_off()
    bars = ax.bar(
        range(len(plan.blocks)),
        [plan.parameters_of(index) / 1e6 for index in range(len(plan.blocks))],
        color=BLUE,
    )
    for index in plan.critical:
        bars[index].set(color=ORANGE)
    ax.set(
        title=f"the plan for {plan.parameters / 1e6:.0f} M parameters "
        "(orange: critical by the recipe's rule)",
        xlabel="block",
        ylabel="parameters (M)",
        yscale="log",
        ylim=(0.1, 100),
        xlim=(-0.5, len(plan.blocks) - 0.5),
    )
    return figure


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    save_as(picture(), PICTURE, dpi=110)
    print(f"Wrote {PICTURE}")
