"""The tables of what LyCORIS makes of a configuration."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from lokr_weighting.models.trainers import LIBRARIES, SIMPLETUNER_VERSION
from lokr_weighting.plan.file_size import BYTES_PER_PARAMETER
from lokr_weighting.targets.lycoris.check import Checked
from lokr_weighting.targets.lycoris.readback import ModuleResult, Readback
from lokr_weighting.targets.tensors import label_of, parameters


@dataclass(frozen=True)
class BlockCost:
    """What a configuration costs in one block.

    Attributes:
        block: the block's name.
        modules: how many of its modules are adapted.
        splits: a split's label -> how many modules have it.
        parameters: trainable parameters.
    """

    block: str
    modules: int
    splits: dict[str, int]
    parameters: int


def checked_table(checked: Checked, most: int | None = 20) -> RenderableType:
    """Everything that is wrong with a configuration; the last sentence is the verdict."""
    parts = _differences(checked.readback, most)
    if checked.unread:
        parts.append(_reasons("Keys without effect", "key", checked.unread))
    if checked.changed:
        parts.append(_reasons("Keys that SimpleTuner minds", "key", checked.changed))
    remarks = readback_remarks(checked.readback)
    parts += [*trainer_remarks(checked), *remarks[:-1]]
    if checked.readback.exact and not checked.exact:
        return Group(
            *parts,
            f"Not exact: keys without effect: {len(checked.unread)}; keys that SimpleTuner minds: "
            f"{len(checked.changed)}; the rest does what it says.",
        )
    return Group(*parts, remarks[-1])


def trainer_remarks(checked: Checked) -> list[str]:
    """Whose classes were used, and what the other trainer's would make of the configuration."""
    if not checked.known:
        return [
            f"The classes of {LIBRARIES[checked.trainer]} are not known for this model: those of "
            "diffusers were used. If the configuration names classes, this may not be what is "
            "trained."
        ]
    lines = [f"Classes: those of {_library(checked.trainer)} (--trainer)."]
    if checked.elsewhere is not None:
        trainer, readback = checked.elsewhere
        made = len(readback.made)
        verdict = "exact" if readback.exact else "not exact"
        lines.append(
            f"The configuration names classes, and those of {_library(trainer)} differ: with them "
            f"(--trainer {trainer}) {made} modules are adapted, {readback.made_parameters:,} "
            f"parameters, {verdict}."
        )
    return lines


def readback_table(readback: Readback, most: int | None = 20) -> RenderableType:
    """What differs between what a configuration asks for and what LyCORIS makes of it."""
    return Group(*_differences(readback, most), *readback_remarks(readback))


def readback_remarks(readback: Readback) -> list[str]:
    """The comparison in sentences; the last one is the verdict."""
    counts = readback.counts
    total = len(readback.modules)
    lines = [f"LyCORIS says: {note}" for note in readback.notes]
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


def block_costs(readback: Readback, names: Sequence[str] = ()) -> list[BlockCost]:
    """What a configuration costs in each block, in the order of the model.

    Args:
        readback: what LyCORIS makes of it.
        names: the model's blocks; where they are not known, they are guessed from the modules'.
    """
    blocks: dict[str, list[ModuleResult]] = {}
    for module in readback.modules:
        if module.made is not None:
            blocks.setdefault(_block_of(module.name, names), []).append(module)
    return [
        BlockCost(
            block,
            len(modules),
            dict(Counter(label_of(module.made) for module in modules)),
            sum(parameters(module.made) for module in modules),
        )
        for block, modules in blocks.items()
    ]


def cost_table(readback: Readback, names: Sequence[str] = ()) -> RenderableType:
    """The same as a table, with each block's share."""
    table = Table(title="What LyCORIS makes of this configuration", title_justify="left")
    table.add_column("block")
    table.add_column("modules", justify="right")
    table.add_column("splits (modules)")
    table.add_column("parameters", justify="right")
    table.add_column("share", justify="right")
    total = readback.made_parameters
    for cost in block_costs(readback, names):
        table.add_row(
            cost.block,
            str(cost.modules),
            ", ".join(f"{label} ({count})" for label, count in cost.splits.items()),
            f"{cost.parameters:,}",
            f"{cost.parameters / total:.1%}",
        )
    size = total * BYTES_PER_PARAMETER / 2**20
    return Group(table, f"{total:,} trainable parameters ({size:,.1f} MiB in bf16).")


def _differences(readback: Readback, most: int | None) -> list[RenderableType]:
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
        title = "Patterns that do not do what they say"
        parts.append(_reasons(title, "pattern or class", readback.faults))
    return parts


def _reasons(title: str, what: str, reasons: Mapping[str, str]) -> RenderableType:
    table = Table(title=title, title_justify="left")
    table.add_column(what, overflow="fold")
    table.add_column("why")
    for part, why in reasons.items():
        table.add_row(escape(part), escape(why))
    return table


def _library(trainer: str) -> str:
    version = f" {SIMPLETUNER_VERSION}" if trainer == "simpletuner" else ""
    return f"{LIBRARIES[trainer]}{version}"


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


def _block_of(name: str, blocks: Sequence[str]) -> str:
    """`transformer_blocks.3.attn.to_q` -> `transformer_blocks.3`; outside blocks the first name."""
    around = next((block for block in blocks if name.startswith(f"{block}.")), None)
    if around is not None:
        return around
    parts = name.split(".")
    return ".".join(parts[:2]) if len(parts) > 2 and parts[1].isdigit() else parts[0]
