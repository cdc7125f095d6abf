"""One page that shows a measurement and its plan: no network, no scripts, for screen and print."""

import io
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from lokr_weighting.ablation import Ablation
from lokr_weighting.architectures import empty_transformer
from lokr_weighting.blocks import block_linears, block_names
from lokr_weighting.calibration import SUMMARY, Calibration, Summary
from lokr_weighting.collect import Stop
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.experiment_tables import GROUP_COLUMNS, group_rows, groups_remarks
from lokr_weighting.figures import save
from lokr_weighting.files import read_model, write_text
from lokr_weighting.heatmaps import Heatmaps
from lokr_weighting.pictures import pictures
from lokr_weighting.plan import Plan
from lokr_weighting.readback import differences_from_plan, read_back
from lokr_weighting.records import stack_records
from lokr_weighting.settle import Settled, judge
from lokr_weighting.similarity import similarity_of
from lokr_weighting.tables import block_columns, block_rows, plan_remarks
from lokr_weighting.targets.lycoris import config_of

if TYPE_CHECKING:
    from torch import nn

FACTS = {
    "model": "model",
    "data": "dataset fingerprint",
    "images": "images",
    "datasets": "images in each dataset",
    "seed": "seed",
    "resolution": "resolution",
    "dtype": "dtype",
    "precision": "base precision",
    "quantization": "quantization",
    "weights": "weights fingerprint",
}
"""Keys of a calibration's settings that are worth showing -> what they are called."""


def judgements(calibration: Calibration, model: "nn.Module", plan: Plan) -> list[Settled]:
    """How settled the plan was at every number of samples at which it could have been judged."""
    recipe, stop = plan.recipe, Stop()
    linears, names = block_linears(model), block_names(model)
    counts = []
    count = stop.next_check(0, recipe.bins)
    while count <= len(calibration.records) and len(counts) < 30:
        counts.append(count)
        following = stop.next_check(count + 1, recipe.bins)
        if following <= count:
            break
        count = following
    return [
        judge(
            stack_records(list(calibration.records[:count]), recipe.tokens),
            linears,
            names,
            recipe,
            plan.budget,
        )
        for count in counts
    ]


def write_report(
    path: Path,
    measured: Calibration | Heatmaps,
    plan: Plan,
    model: "nn.Module | None" = None,
    ablation: Ablation | None = None,
) -> list[Path]:
    """Write the page and, beside it, every figure as PNG and SVG.

    Args:
        path: the .html file; the figures go into NAME.figures.
        measured: what the plan was made from.
        plan: the plan.
        model: the transformer, on the meta device too; without it the plan is not read back.
        ablation: what it costs to run the blocks otherwise; it is set beside the measurement's
            distances.

    Returns:
        the files.

    Raises:
        LokrWeightingError: the measurement is of another number of blocks than the plan.
    """
    heatmaps = (
        measured
        if isinstance(measured, Heatmaps)
        else measured.heatmaps(plan.recipe.bins, plan.recipe.tokens)
    )
    if heatmaps.block_count != len(plan.blocks):
        raise LokrWeightingError(
            f"the measurement has {heatmaps.block_count} blocks, the plan {len(plan.blocks)}: "
            "they are of different models"
        )
    if ablation is not None:
        if ablation.blocks != tuple(block.name for block in plan.blocks):
            raise LokrWeightingError(f"the ablation is of another model ({ablation.model})")
        means = (heatmaps.image.mean(axis=0), heatmaps.text.mean(axis=0))
        ablation = replace(ablation, image=means[0], text=means[1])
    judged, similarity = [], None
    if isinstance(measured, Calibration):
        if measured.has_similarity:
            similarity = similarity_of(measured)
        if model is not None:
            judged = judgements(measured, model, plan)
    drawn = pictures(heatmaps, plan, judged, similarity, ablation)
    page = _template().render(
        title=f"Where {plan.model} works",
        summary=_summary(plan, judged),
        facts=_facts(measured, plan, heatmaps),
        figures=[
            {"title": each.title, "caption": each.caption, "svg": Markup(_svg(each.figure))}
            for each in drawn
        ],
        group_columns=GROUP_COLUMNS,
        group_rows=group_rows(similarity) if similarity else [],
        groups_remarks=groups_remarks(similarity) if similarity else [],
        remarks=plan_remarks(plan),
        block_columns=block_columns(plan),
        block_rows=[
            {"critical": bool(block.critical), "cells": cells}
            for block, cells in zip(plan.blocks, block_rows(plan), strict=True)
        ],
        module_rows=[
            (
                linear.name,
                linear.in_features,
                linear.out_features,
                linear.factor,
                linear.split.label,
                f"{linear.parameters:,}",
                f"{linear.parameters / plan.parameters:.2%}",
            )
            for linear in plan.linears
        ],
        readback=_readback(plan, model),
        version=metadata.version("lokr-weighting"),
    )
    write_text(path, page)
    folder = path.with_suffix(".figures")
    folder.mkdir(exist_ok=True)
    files = [path]
    for each in drawn:
        files += save(each.figure, folder / each.name)
    return files


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lokr_weighting", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _svg(figure: Figure) -> str:
    """A figure as an <svg> element, its text as text."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _summary(plan: Plan, judged: Sequence[Settled]) -> list[str]:
    lines = [
        f"{plan.parameters:,} trainable parameters in {len(plan.linears)} Linears"
        + (f", within the budget {plan.budget}." if plan.budget else ".")
    ]
    if plan.critical:
        share = plan.parameters_of(*plan.critical) / plan.parameters
        reasons = ", ".join(
            f"{index} ({' and '.join(plan.blocks[index].critical)})" for index in plan.critical
        )
        lines.append(
            f"Critical blocks: {reasons}. In at least {plan.recipe.critical_share:.0%} of the "
            f"timestep bins they lie above the {plan.recipe.critical_percentile:g}th percentile of "
            f"the stream that is named. They take {share:.0%} of the parameters."
        )
    if judged:
        last = judged[-1]
        lines.append(
            f"After {last.samples} samples, {last.near:.0%} of the resamples give a plan within "
            f"one split of this in every Linear, and {last.same:.0%} this very plan."
        )
    return lines


def _facts(
    measured: Calibration | Heatmaps, plan: Plan, heatmaps: Heatmaps
) -> list[tuple[str, Any]]:
    settings = measured.settings if isinstance(measured, Calibration) else {}
    found = {label: settings[key] for key, label in FACTS.items() if settings.get(key) is not None}
    facts: dict[str, Any] = {
        "model": plan.model,
        **found,
        "samples": f"{plan.measurement.samples:,}" if plan.measurement.samples else "not known",
        "timestep bins": heatmaps.bins,
        "tokens": plan.recipe.tokens,
        "measurement": plan.measurement.identity,
        "plan": plan.identity,
    }
    if heatmaps.description:
        facts["description"] = heatmaps.description
    if isinstance(measured, Calibration) and measured.folder is not None:
        summary = read_model(measured.folder / SUMMARY, Summary)
        facts["versions"] = ", ".join(f"{name} {x}" for name, x in summary.versions.items())
    return list(facts.items())


def _readback(plan: Plan, model: "nn.Module | None") -> str:
    if model is None:
        return "Not read back: the model's architecture is not known here (--model)."
    made = read_back(model, config_of(plan))
    wrong = differences_from_plan(plan, made.made)
    version = metadata.version("lycoris-lora")
    if wrong or not made.exact:
        return f"LyCORIS {version} would NOT train this plan: {'; '.join(wrong[:5])}"
    return (
        f"LyCORIS {version} makes all {len(made.modules)} modules as planned "
        f"({made.made_parameters:,} trainable parameters)."
    )


def model_of(name: str) -> "nn.Module | None":
    """The transformer of that name without weights, or None where it is not known."""
    try:
        return empty_transformer(name)
    except LokrWeightingError:
        return None
