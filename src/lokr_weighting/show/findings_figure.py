"""The heatmaps with what was found marked on them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.show.figures import draw_heatmap, scales
from lokr_weighting.studies.findings import Finding, Stream

MARKS = {
    "critical": ("*", "critical"),
    "idle": ("x", "idle"),
    "rises": ("^", "rises towards noise"),
    "falls": ("v", "falls towards noise"),
    "both ends": ("D", "high at both ends"),
    "joint": ("P", "joint work"),
}
"""What stands over a column -> its marker and its name."""
ISLAND = "#d55e00"


def findings_figure(heatmaps: Heatmaps, findings: Sequence[Finding]) -> Figure:
    """Each stream's clipped heatmap; islands framed, other findings marked over their blocks."""
    both: list[tuple[Stream, np.ndarray]] = [("image", heatmaps.image), ("text", heatmaps.text)]
    streams = [each for each in both if not np.isnan(each[1]).all()]
    figure = Figure(figsize=(11, 4.6 * len(streams)), layout="constrained")
    axes = np.atleast_1d(np.array(figure.subplots(len(streams), 1)))
    for ax, (stream, heatmap) in zip(axes, streams, strict=True):
        known = np.flatnonzero(~np.isnan(heatmap).any(axis=0))
        name, (values, norm) = list(scales(heatmap[:, known]).items())[-1]
        draw_heatmap(figure, ax, values, norm, known.tolist())
        ax.set_title(f"{stream} stream, {name}")
        ax.set_label(stream)
        own = [each for each in findings if each.stream in (stream, None)]
        _mark(ax, own, {int(block): place for place, block in enumerate(known)}, len(heatmap))
    return figure


def _mark(ax: Axes, findings: Sequence[Finding], places: dict[int, int], bins: int) -> None:
    """Frame islands and mark other findings, each kind in a row of its own over the heatmap."""
    rows: dict[str, list[int]] = {}
    for finding in findings:
        columns = [places[block] for block in finding.blocks if block in places]
        if not columns:
            continue
        if finding.kind == "island":
            low, width = columns[0] - 0.5, len(columns)
            frame = Rectangle(
                (low, -0.5), width, bins, fill=False, edgecolor=ISLAND, linewidth=2.5, zorder=3
            )
            ax.add_patch(frame)
            continue
        kind = finding.kind
        if kind == "gradient":
            kind = "rises" if finding.size > 0 else "falls"
        rows.setdefault(kind, []).extend(columns)
    for row, (kind, columns) in enumerate(rows.items()):
        marker, label = MARKS[kind]
        height = np.full(len(columns), bins + 0.1 + 0.8 * row)
        ax.scatter(columns, height, marker=marker, s=34, label=label, color="black", clip_on=False)
    ax.set_ylim(-0.5, bins - 0.5 + 0.8 * len(rows) + (0.4 if rows else 0))
    if rows:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(rows), frameon=False)
