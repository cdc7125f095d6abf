"""The table of a plan."""

from collections import Counter
from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from lokr_weighting.models.blocks import places_in_lists, ranges_of_lists
from lokr_weighting.plan.file_size import BYTES_PER_PARAMETER
from lokr_weighting.plan.make import parameters_without_critical
from lokr_weighting.plan.plan import LinearPlan, Plan
from lokr_weighting.plan.recipe import RECIPES

MODULE_COLUMNS = ("module", "in", "out", "factor", "split", "parameters", "share")
SPLIT_COLUMNS = ("ff, modulation", "others")
LEFT_OUT = "left out"
ON_AN_EDGE = 0.9  # a block that keeps its splits in fewer resamples than this


def plan_table(plan: Plan) -> RenderableType:
    """One row a block: what was measured, the factor, the splits, and what they cost."""
    title = f"Plan for {escape(plan.model)}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for name in block_columns(plan):
        table.add_column(name, justify="left" if name in SPLIT_COLUMNS else "right")
    for block, row in zip(plan.blocks, block_rows(plan), strict=True):
        table.add_row(*row, style="bold" if block.critical else None)
    return Group(table, *plan_remarks(plan))


def block_columns(plan: Plan) -> list[str]:
    """The columns of `block_rows`."""
    kept = ["kept"] if any(block.kept is not None for block in plan.blocks) else []
    measured = ["block", "image", "text", "contribution", "factor"]
    return [*measured, *SPLIT_COLUMNS, "parameters", "share", *kept]


def block_rows(plan: Plan) -> list[list[str]]:
    """One row a block: what was measured, the factor, the splits, and what they cost."""
    rows, left_out = [], {*plan.left_out}
    for index, block in enumerate(plan.blocks):
        linears = [linear for linear in plan.linears if linear.block == index]
        cost = plan.parameters_of(index)
        rows.append(
            [
                str(index),
                _with_error(block.image, block.image_error, 4),
                _with_error(block.text, block.text_error, 4),
                _with_error(block.contribution, block.contribution_error, 3),
                f"{block.factor or '-'}{'*' if block.critical else ''}",
                LEFT_OUT
                if index in left_out
                else _splits(linear for linear in linears if linear.base),
                _splits(linear for linear in linears if not linear.base),
                f"{cost:,}",
                f"{cost / plan.parameters:.1%}",
                *([] if block.kept is None else [f"{block.kept:.0%}"]),
            ]
        )
    return rows


def module_rows(plan: Plan) -> list[tuple[str, int, int, int, str, str, str]]:
    """One row a Linear, under `MODULE_COLUMNS`; share is of all parameters.

    A convolution's kernel stands beside its name.
    """
    return [
        (
            f"{linear.name} ({'x'.join(map(str, linear.kernel))})"
            if linear.kernel
            else linear.name,
            linear.in_features,
            linear.out_features,
            linear.factor,
            linear.split.label,
            f"{linear.parameters:,}",
            f"{linear.parameters / plan.parameters:.2%}",
        )
        for linear in plan.linears
    ]


def counted(plan: Plan) -> str:
    """How many Linears, and convolutions where there are any, a plan adapts."""
    convolutions = sum(bool(linear.kernel) for linear in plan.linears)
    linears = f"{len(plan.linears) - convolutions} Linears"
    return f"{linears} and {convolutions} convolutions" if convolutions else linears


def plan_remarks(plan: Plan) -> list[str]:
    """What the table's numbers mean, in sentences."""
    size = plan.parameters * BYTES_PER_PARAMETER / 2**20
    name = plan.recipe.name
    lines = [
        _which_blocks(plan),
        *([] if name == "distance" else [f"Recipe {name}: {RECIPES[name]}."]),
        "image, text: mean angular distance of each stream, 0 to 1. 11 -> 8: factor 11 is asked "
        "for and becomes split 8.",
        *_which_streams(plan),
        *_left_out(plan),
        *_joined(plan),
        *_unmeasured(plan),
        f"{plan.parameters:,} trainable parameters in {counted(plan)}"
        f" ({size:,.1f} MiB in bf16)" + (f", budget {plan.budget}." if plan.budget else "."),
    ]
    if any(block.kept is not None for block in plan.blocks):
        lines.append(
            "±: standard error. kept: the share of resamples of the samples in which all of the "
            "block's splits are these."
        )
        edge = [i for i, x in enumerate(plan.blocks) if x.kept is not None and x.kept < ON_AN_EDGE]
        if edge:
            lines.append(f"Blocks on an edge between two splits: {', '.join(map(str, edge))}.")
    if plan.critical:
        share = plan.parameters_of(*plan.critical) / plan.parameters
        reasons = ", ".join(f"{i} ({', '.join(plan.blocks[i].critical)})" for i in plan.critical)
        lines.append(f"*: critical. Critical blocks {reasons} take {share:.1%} of the parameters.")
        if plan.budget is None and plan.recipe.name == "distance":
            lines[-1] += f" Without the rule: {parameters_without_critical(plan):,} in all."
    lines += [
        f"Factors {', '.join(map(str, factors))} all become split {label}."
        for label, factors in plan.collapsed().items()
    ]
    return lines


def _which_blocks(plan: Plan) -> str:
    """The numbers of each module list's blocks, e.g. "Blocks 0 to 37: transformer_blocks."."""
    return f"Blocks {', '.join(ranges_of_lists([block.name for block in plan.blocks]))}."


def _left_out(plan: Plan) -> list[str]:
    """What of the model is not planned because a part of it was asked for."""
    if plan.selected is None:
        return []
    asked = f"Planned is a part of the model alone (--blocks {plan.selected.blocks}). "
    if not plan.selected.left_out:
        return [f"{asked}It is the whole: nothing is left out."]
    without = []
    if plan.left_out:
        without.append(f"{len(plan.left_out)} of {len(plan.blocks)} blocks")
    if plan.selected.stream is not None:
        other = "text" if plan.selected.stream == "image" else "image"
        without.append(f"those that only {other} tokens pass through")
    count = len(plan.linears) + plan.selected.left_out
    budget = " The budget is for this part." if plan.budget else ""
    return [
        f"{asked}Left out and not adapted: {plan.selected.left_out} of {count} modules: "
        f"{' and '.join(without)}.{budget}"
    ]


def _joined(plan: Plan) -> list[str]:
    """Which of the model's Linears are one in the trainer's."""
    joined = [linear for linear in plan.linears if len(linear.joins) > 1]
    if not joined:
        return []
    names = sorted({linear.name.rpartition(".")[2] for linear in joined})
    return [
        f"The trainer's model joins Linears: {len(joined)} ({', '.join(names)}) are "
        f"{sum(len(linear.joins) for linear in joined)} in diffusers' model. Each gets one factor, "
        "and the parameters are those of the joined ones."
    ]


def _unmeasured(plan: Plan) -> list[str]:
    """How many Linears belong to streams that are not measured, and what they get."""
    counts = Counter(linear.unmeasured for linear in plan.linears if linear.unmeasured)
    return [
        f"{stream.capitalize()} is not measured: the {count} Linears that work on it get the "
        "factor of their block, which goes by its other streams."
        for stream, count in counts.items()
    ]


def _which_streams(plan: Plan) -> list[str]:
    """Which blocks have one stream alone, and how it counts where distances decide."""
    alone, recipe = plan.alone, plan.recipe
    if all(block.text is None for block in plan.blocks):
        counts = ": the image alone counts, with the whole weight" if recipe.by_distance else ""
        return [f"No block hands a text stream on{counts}."]
    lines = []
    for stream, which, weight in (
        ("text", alone.text, recipe.text_weight),
        ("the image", alone.image, recipe.image_weight),
    ):
        names = [block.name for block, own in zip(plan.blocks, which, strict=True) if own]
        if names:
            counts = "counts with the whole weight" if weight else "has no weight: they get least"
            lines.append(
                f"Blocks of {', '.join(places_in_lists(names))} have {stream} alone"
                + (f", which {counts}." if recipe.by_distance else ".")
            )
    return lines


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if error is None else f" ±{error:.{digits}f}")


def _splits(linears: Iterable[LinearPlan]) -> str:
    """The factors asked for and the splits they become, e.g. "11 -> 8"."""
    labels_of: dict[int, dict[str, None]] = {}
    for linear in linears:
        labels_of.setdefault(linear.factor, {})[linear.split.label] = None
    return "; ".join(
        str(factor) if list(labels) == [str(factor)] else f"{factor} -> {', '.join(labels)}"
        for factor, labels in labels_of.items()
    )
