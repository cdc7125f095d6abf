"""One page that shows a measurement and its plan: one file, no network, for screen and print."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import check_there, write_text
from lokr_weighting.plan.plan import Plan
from lokr_weighting.plan.settled import Settled
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.show.changes import change_columns, change_remarks, change_rows
from lokr_weighting.show.figures import save
from lokr_weighting.show.findings import (
    COLUMNS,
    finding_rows,
    findings_at,
    findings_remarks,
    headlines,
)
from lokr_weighting.show.html import drawing, render
from lokr_weighting.show.plan_tables import (
    MODULE_COLUMNS,
    block_columns,
    block_rows,
    counted,
    module_rows,
    plan_remarks,
)
from lokr_weighting.show.report import content
from lokr_weighting.show.report.captions import pictures
from lokr_weighting.show.report.content import facts, summary
from lokr_weighting.show.report.grids import grids_of
from lokr_weighting.show.study_tables import GROUP_COLUMNS, group_rows, groups_remarks
from lokr_weighting.studies.ablation import Ablation
from lokr_weighting.studies.changes import AdapterStudy
from lokr_weighting.studies.findings import findings_of
from lokr_weighting.studies.similarity import similarity_of

if TYPE_CHECKING:
    from torch import nn


def write_report(
    path: Path,
    measured: Calibration | Heatmaps,
    plan: Plan,
    *,
    model: "nn.Module | None" = None,
    judged: Sequence[Settled] = (),
    ablation: Ablation | None = None,
    adapter: AdapterStudy | None = None,
    read_back: str | None = None,
) -> list[Path]:
    """Write the page and, beside it, every figure as PNG and SVG.

    Args:
        path: the .html file; the figures go into NAME.figures.
        measured: what the plan was made from.
        plan: the plan.
        model: the transformer, on the meta device too; without it the plan is not read back.
        judged: how settled the plan was after more and more samples (`judgements`).
        ablation: what it costs to run the blocks otherwise; it is set beside the measurement's
            distances.
        adapter: what an adapter did that was trained since.
        read_back: what LyCORIS made of the plan, where it was asked already.

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
    similarity = None
    if isinstance(measured, Calibration) and measured.has_similarity:
        similarity = similarity_of(measured)
    found = findings_of(measured, plan.recipe)
    shown = pictures(
        heatmaps,
        plan,
        judged=judged,
        similarity=similarity,
        ablation=ablation,
        findings=found,
        adapter=adapter,
    )
    grids = grids_of(heatmaps, plan, found, similarity)
    page = render(
        "report/page.html.j2",
        title=f"Where {plan.model} works",
        summary=summary(plan, judged),
        facts=facts(measured, plan, heatmaps),
        grids=grids,
        figures=[
            drawing(each.figure, each.name, each.title, each.caption, grids) for each in shown
        ],
        headlines=headlines(found),
        finding_columns=COLUMNS,
        finding_rows=finding_rows(found),
        finding_remarks=findings_remarks(found, samples_known=isinstance(measured, Calibration)),
        group_columns=GROUP_COLUMNS,
        group_rows=group_rows(similarity) if similarity else [],
        groups_remarks=groups_remarks(similarity) if similarity else [],
        change_columns=change_columns(adapter) if adapter else [],
        change_rows=change_rows(adapter) if adapter else [],
        change_remarks=change_remarks(adapter) if adapter else [],
        remarks=plan_remarks(plan),
        block_columns=[*block_columns(plan), "found"],
        block_rows=[
            [*row, findings_at(found, block)] for block, row in enumerate(block_rows(plan))
        ],
        critical=plan.critical,
        module_columns=MODULE_COLUMNS,
        module_rows=module_rows(plan),
        counted=counted(plan),
        readback=read_back or content.read_back(plan, model),
    )
    write_text(path, page)
    folder = path.with_suffix(".figures")
    files = [path]
    for each in shown:
        files += save(each.figure, folder / each.name)
    if not path.exists():
        # the folder was removed meanwhile: figures without their page would be nobody's
        write_text(path, page)
    check_there(files)
    return files
