"""What a trained adapter did, drawn: given, changed, used, block by block."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lokr_weighting.models.blocks import ranges_of_lists
from lokr_weighting.show.figures import BLUE, ORANGE, every_tick
from lokr_weighting.studies.changes import AdapterStudy, BlockChange

GREEN = "#009E73"  # of Okabe and Ito's palette
STYLES: dict[str | None, tuple[str, str, float, str]] = {
    "image": (BLUE, "o", -0.14, "image stream"),
    "text": (ORANGE, "s", 0.14, "text stream"),
    None: (GREEN, "^", 0.0, "both streams"),
}
"""A stream -> its colour, its marker, how far beside the block's number it stands, its name."""


def changes_figure(study: AdapterStudy) -> Figure:
    """Three panels over the blocks: parameters, the change, and the share of capacity used."""
    names = list(dict.fromkeys(each.block for each in study.blocks if each.block is not None))
    places = {name: place for place, name in enumerate(names)}
    figure = Figure(figsize=(max(9, 0.22 * len(names)), 8), layout="constrained")
    given, changed, used = figure.subplots(3, 1, sharex=True)
    for stream, (colour, marker, aside, label) in STYLES.items():
        rows = [
            each
            for each in study.blocks
            if each.block is not None and each.stream == stream and each.adapted
        ]
        if not rows:
            continue
        across = [places[each.block] + aside for each in rows if each.block is not None]
        style = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 5}
        given.plot(across, [_given(each) for each in rows], label=label, **style)
        changed.plot(across, _changes(rows, study.weights is not None), **style)
        used.plot(across, [100 * each.used for each in rows], **style)
        noise = [100 * each.noise for each in rows]
        used.plot(across, noise, marker="_", linestyle="none", markersize=9, color="black")
    _logarithmic(given)
    _logarithmic(changed)
    whose = "plan" if study.plan else "adapter"
    given.set(ylabel=f"parameters ({whose})")
    changed.set(
        ylabel="change of the weights (%)" if study.weights else "norm of the change",
    )
    used.set(ylabel="capacity used (%)\nblack: by noise", ylim=(-3, 103))
    used.set(xlabel="\n".join(["block", *ranges_of_lists(names)]))
    used.set_xticks(range(0, len(names), every_tick(len(names))))
    given.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return figure


def _given(each: BlockChange) -> int:
    return each.parameters if each.planned is None else each.planned


def _changes(rows: Sequence[BlockChange], relative: bool) -> list[float]:
    """The change in percent, or its norm; NaN where it is not known."""
    if not relative:
        return [each.norm for each in rows]
    return [np.nan if each.relative is None else 100 * each.relative for each in rows]


def _logarithmic(ax: Axes) -> None:
    """Where all that is drawn is above 0, in decades, as far as there are such."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines] or [[]])
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > 10 * values.min():
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, 1.08 * values.max() if values.size and values.max() > 0 else 1)
