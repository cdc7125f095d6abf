"""The tables of a plan and of what LyCORIS makes of it."""

import io
from collections import Counter
from collections.abc import Iterable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table

from lokr_weighting.blocks import ranges_of_lists
from lokr_weighting.budget import BYTES_PER_PARAMETER
from lokr_weighting.plan import LinearPlan, Plan
from lokr_weighting.readback import ModuleResult, Readback, label_of, parameters

PIPE_WIDTH = 160
SPLIT_COLUMNS = ("ff, modulation", "others")
ON_AN_EDGE = 0.9  # a block that keeps its splits in fewer resamples than this


def console(stderr: bool = False) -> Console:
    """A console that, where it is not a terminal, still gives tables room."""
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


def as_text(table: RenderableType) -> str:
    """A table as plain lines, for a log."""
    out = Console(file=io.StringIO(), highlight=False, width=PIPE_WIDTH, color_system=None)
    with out.capture() as captured:
        out.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


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
    rows = []
    for index, block in enumerate(plan.blocks):
        linears = [linear for linear in plan.linears if linear.block == index]
        cost = plan.parameters_of(index)
        rows.append(
            [
                str(index),
                _with_error(block.image, block.image_error, 4),
                _with_error(block.text, block.text_error, 4),
                _with_error(block.contribution, block.contribution_error, 3),
                f"{block.factor}{'*' if block.critical else ''}",
                _splits(linear for linear in linears if linear.base),
                _splits(linear for linear in linears if not linear.base),
                f"{cost:,}",
                f"{cost / plan.parameters:.1%}",
                *([] if block.kept is None else [f"{block.kept:.0%}"]),
            ]
        )
    return rows


def plan_remarks(plan: Plan) -> list[str]:
    """What the table's numbers mean, in sentences."""
    size = plan.parameters * BYTES_PER_PARAMETER / 2**20
    lines = [
        _which_blocks(plan),
        "image, text: mean angular distance of each stream, 0 to 1. 11 -> 8: factor 11 is asked "
        "for and becomes split 8.",
        f"{plan.parameters:,} trainable parameters in {len(plan.linears)} Linears"
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
        if plan.budget is None:
            lines[-1] += f" Without the rule: {plan.parameters_without_critical():,} in all."
    lines += [
        f"Factors {', '.join(map(str, factors))} all become split {label}."
        for label, factors in plan.collapsed().items()
    ]
    return lines


def readback_table(readback: Readback, most: int | None = 20) -> RenderableType:
    """What differs between what a configuration asks for and what LyCORIS makes of it."""
    parts: list[RenderableType] = []
    wrong = [module for module in readback.modules if module.status != "exact"]
    if wrong:
        table = Table(title="Modules that did not get what was asked", title_justify="left")
        for name in ("module", "asked by", "status", "factor", "split", "made"):
            table.add_column(name, overflow="fold")
        for name in ("parameters", "made"):
            table.add_column(name, justify="right")
        for module in wrong[:most]:
            table.add_row(*_module_row(module))
        parts.append(table)
        if most is not None and len(wrong) > most:
            parts.append(f"... and {len(wrong) - most} more; --all shows them")
    if readback.faults:
        table = Table(title="Patterns that do not do what they say", title_justify="left")
        table.add_column("pattern or class")
        table.add_column("why")
        for pattern, why in readback.faults.items():
            table.add_row(escape(pattern), escape(why))
        parts.append(table)
    return Group(*parts, *readback_remarks(readback))


def readback_remarks(readback: Readback) -> list[str]:
    """The comparison in sentences; the last one is the verdict."""
    counts = readback.counts
    total = len(readback.modules)
    lines = [f"Note: {note}." for note in readback.notes]
    made, asked = readback.made_parameters, readback.asked_parameters
    lines.append(f"{made:,} parameters are made, {asked:,} asked for.")
    if readback.exact:
        return [*lines, f"Exact: all {total} modules get what the configuration asks for."]
    if not total:
        return [*lines, "Not exact: the configuration adapts nothing in this model."]
    return [
        *lines,
        f"Not exact: of {total} modules {counts['exact']} are exact, {counts['wrong']} wrong, "
        f"{counts['missing']} missing, {counts['unasked']} adapted though nothing names them; "
        f"patterns that do not do what they say: {len(readback.faults)}.",
    ]


def cost_rows(readback: Readback) -> list[dict[str, object]]:
    """What a configuration costs, one row for each block: its modules, splits and parameters."""
    blocks: dict[str, list[ModuleResult]] = {}
    for module in readback.modules:
        if module.made is not None:
            blocks.setdefault(_block_of(module.name), []).append(module)
    return [
        {
            "block": block,
            "modules": len(modules),
            "splits": dict(Counter(label_of(module.made) for module in modules)),
            "parameters": sum(parameters(module.made) for module in modules),
        }
        for block, modules in blocks.items()
    ]


def cost_table(readback: Readback) -> RenderableType:
    """The same as a table, with each block's share."""
    table = Table(title="What LyCORIS makes of this configuration", title_justify="left")
    table.add_column("block")
    table.add_column("modules", justify="right")
    table.add_column("splits (modules)")
    table.add_column("parameters", justify="right")
    table.add_column("share", justify="right")
    total = readback.made_parameters
    for row in cost_rows(readback):
        splits, cost = row["splits"], row["parameters"]
        assert isinstance(splits, dict)
        assert isinstance(cost, int)
        table.add_row(
            str(row["block"]),
            str(row["modules"]),
            ", ".join(f"{label} ({count})" for label, count in splits.items()),
            f"{cost:,}",
            f"{cost / total:.1%}",
        )
    size = total * BYTES_PER_PARAMETER / 2**20
    return Group(table, f"{total:,} trainable parameters ({size:,.1f} MiB in bf16).")


def _which_blocks(plan: Plan) -> str:
    """The numbers of each module list's blocks, e.g. "Blocks 0 to 37: transformer_blocks."."""
    return f"Blocks {', '.join(ranges_of_lists([block.name for block in plan.blocks]))}."


def _with_error(value: float | None, error: float | None, digits: int) -> str:
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if error is None else f" ±{error:.{digits}f}")


def _splits(linears: Iterable[LinearPlan]) -> str:
    """The factors asked for and the splits they become, e.g. "11 -> 8"."""
    found: dict[int, dict[str, None]] = {}
    for linear in linears:
        found.setdefault(linear.factor, {})[linear.split.label] = None
    return "; ".join(
        str(factor) if list(labels) == [str(factor)] else f"{factor} -> {', '.join(labels)}"
        for factor, labels in found.items()
    )


def _module_row(module: ModuleResult) -> tuple[str, ...]:
    return (
        escape(module.name),
        escape(module.source or "nothing"),
        module.status,
        "-" if module.factor is None else str(module.factor),
        label_of(module.asked),
        label_of(module.made),
        f"{parameters(module.asked):,}",
        f"{parameters(module.made):,}",
    )


def _block_of(name: str) -> str:
    """`transformer_blocks.3.attn.to_q` -> `transformer_blocks.3`; outside blocks the first name."""
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 and parts[1].isdigit() else parts[0]
