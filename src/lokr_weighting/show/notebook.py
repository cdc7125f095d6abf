"""A calibration, heatmaps or a plan as HTML for a notebook: figures, and a table below them."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lokr_weighting.plan.plan import Plan
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.show.figures import contributions_figure, draw_heatmap
from lokr_weighting.show.plan_tables import block_columns, block_rows, plan_remarks
from lokr_weighting.show.report.content import FACTS

DPI = 72
MOST_ROWS = 12  # of a table; the others are folded


def html_of(thing: Any) -> str:
    """What a notebook shows.

    Args:
        thing: a calibration, heatmaps, or a plan.

    Raises:
        LokrWeightingError: a timestep bin of the calibration is empty.
    """
    return f"<div>{DRAWN[type(thing)](thing)}</div>"


def heatmaps_figure(heatmaps: Heatmaps) -> Figure:
    """Both streams' heatmaps side by side, as they were measured."""
    streams = [
        (name, heatmap[:, has], np.flatnonzero(has).tolist())
        for name, heatmap, has in (
            ("image stream", heatmaps.image, heatmaps.has_image),
            ("text stream", heatmaps.text, heatmaps.has_text),
        )
        if has.any()
    ]
    figure = Figure(figsize=(6.5 * len(streams), 3.4), layout="constrained")
    axes = np.array(figure.subplots(1, len(streams), squeeze=False))[0]
    for ax, (name, values, blocks) in zip(axes, streams, strict=True):
        draw_heatmap(figure, ax, values, Normalize(values.min(), values.max()), blocks)
        ax.set_title(name)
    return figure


def _of_calibration(calibration: Calibration) -> str:
    heatmaps = calibration.heatmaps(calibration.settings.get("bins", 10))
    settings = calibration.settings
    facts = {label: settings[key] for key, label in FACTS.items() if settings.get(key) is not None}
    facts |= {"samples": len(calibration.records), "blocks": len(calibration.blocks)}
    if calibration.not_finite:
        facts["samples that were not finite"] = len(calibration.not_finite)
    if calibration.skipped:
        facts["images left out"] = len(calibration.skipped)
    if calibration.folder is not None:
        facts["folder"] = str(calibration.folder)
    said = ", ".join(f"{escape(name)}: {escape(str(value))}" for name, value in facts.items())
    return f"<p><b>Calibration.</b> {said}</p>{_of_heatmaps(heatmaps)}"


def _of_heatmaps(heatmaps: Heatmaps) -> str:
    names = heatmaps.blocks or tuple(str(number) for number in range(heatmaps.block_count))
    image, text = heatmaps.image.mean(axis=0), heatmaps.text.mean(axis=0)
    rows = [
        [
            str(number),
            name,
            _with_error(image[number], heatmaps.image_error, number),
            _with_error(text[number], heatmaps.text_error, number),
        ]
        for number, name in enumerate(names)
    ]
    columns = ["block", "name", "image: mean distance", "text: mean distance"]
    drawn = _picture(heatmaps_figure(heatmaps), "mean angular distance by timestep and block")
    return drawn + _table(columns, rows)


def _of_plan(plan: Plan) -> str:
    drawn = _picture(contributions_figure(plan), "contribution and parameters of each block")
    remarks = "".join(f"<p>{escape(line)}</p>" for line in plan_remarks(plan))
    table = _table(block_columns(plan), block_rows(plan))
    return f"<p><b>Plan for {escape(plan.model)}.</b></p>{drawn}{table}{remarks}"


DRAWN: Mapping[type, Callable[[Any], str]] = {
    Calibration: _of_calibration,
    Heatmaps: _of_heatmaps,
    Plan: _of_plan,
}


def _picture(figure: Figure, alt: str) -> str:
    """A figure as a PNG in the page: pages that show notebooks strip SVG elements."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    if len(rows) <= MOST_ROWS:
        return table
    return f"<details><summary>{len(rows)} blocks</summary>{table}</details>"


def _with_error(value: float, errors: np.ndarray | None, number: int) -> str:
    if np.isnan(value):
        return "-"
    return f"{value:.4f}" + ("" if errors is None else f" ±{errors[number]:.4f}")
