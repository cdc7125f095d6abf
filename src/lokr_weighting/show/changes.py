"""The tables and sentences of what a trained adapter did."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from lokr_weighting.studies.changes import AdapterStudy, BlockChange
from lokr_weighting.studies.uses import Use

MOST = 3  # differences from the plan that are listed
OUTSIDE = "outside the blocks"
LIMITS = (
    "Neither shows that the capacity was needed. On noise alone more parameters change more too: "
    "an optimizer moves every number about as far."
)
"""What a change and a share of the capacity do not say."""


@dataclass(frozen=True)
class _Words:
    """What a comparison of the blocks' parameters with a measure says."""

    more: str
    less: str
    neither: str


_WORDS = {
    "change": _Words(
        "blocks with more parameters changed more",
        "blocks with more parameters changed less",
        "the change does not go with the parameters beyond chance",
    ),
    "used": _Words(
        "blocks with more parameters use a larger share of their capacity, over noise's",
        "blocks with more parameters use a smaller share of their capacity, over noise's",
        "the share that is used, over noise's, does not go with the parameters beyond chance",
    ),
}


def changes_table(study: AdapterStudy) -> RenderableType:
    """One row for each block and stream, what it says, and whether capacity was used."""
    title = f"What {escape(study.adapter)} changes"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for number, name in enumerate(change_columns(study)):
        table.add_column(name, justify="left" if number < 2 else "right")
    for row in change_rows(study):
        table.add_row(*map(escape, row))
    return Group(table, *map(escape, change_remarks(study)))


def change_columns(study: AdapterStudy) -> list[str]:
    """The columns of `change_rows`."""
    planned = ["planned", "factor"] if study.plan else []
    change = ["change", "of the weights"] if study.weights else ["change"]
    return [
        *("block", "stream", "Linears", "parameters"),
        *planned,
        *change,
        *(f"{part} used" for part in _parts(study)),
        "used",
        "noise",
    ]


def change_rows(study: AdapterStudy) -> list[list[str]]:
    """One row for each block and stream: what it was given, how much changed, what was used."""
    parts = _parts(study)
    return [
        [
            each.block or OUTSIDE,
            stream_name(each),
            str(each.adapted) if each.adapted == each.linears else f"{each.adapted}/{each.linears}",
            f"{each.parameters:,}",
            *([] if each.planned is None else [f"{each.planned:,}", _range(each.factors)]),
            f"{each.norm:.3g}" if each.adapted else "-",
            *([_percent(each.relative)] if study.weights else []),
            *(_share(each.parts.get(part)) for part in parts),
            _share(each.used if each.adapted else None),
            _share(each.noise if each.adapted else None),
        ]
        for each in study.blocks
    ]


def change_remarks(study: AdapterStudy) -> list[str]:
    """What the table says, and what it does not, in sentences."""
    kinds = sorted({each.change.algorithm for each in study.linears})
    lines = [
        f"{study.parameters:,} parameters in {len(study.linears)} modules, {' and '.join(kinds)}."
    ]
    if study.left_out:
        lines.append(f"{study.left_out} modules of text encoders are left out.")
    silent = [each.name for each in study.linears if not each.change.norm]
    if silent:
        lines.append(
            f"Modules that change nothing at all: {len(silent)} of {len(study.linears)} "
            f"({', '.join(silent[:MOST])}{', ...' if len(silent) > MOST else ''})."
        )
    if study.weights is None:
        lines.append(
            f"Only the change itself is given: the weights of {study.model} are not at hand (or "
            "are quantized); --model with a folder of theirs sets it beside them."
        )
    elif any(each.weight is None for each in study.linears):
        lines.append(
            "Where the change has no share, the weights' files do not have that weight as it is "
            "in the model."
        )
    lines += _of_the_plan(study)
    given = "the plan" if study.plan else "the adapter"
    lines.append(
        "change: Frobenius norm of all that is added to the weights. used: the effective rank of "
        "the change (Roy and Vetterli, 2007) over the most it can have, mean of the Linears by "
        "parameters; noise: the same of random numbers in its place. Did training use the capacity "
        f"where {given} puts it? Beyond chance is what holds for all comparisons together."
    )
    return [*lines, *map(use_sentence, study.uses), LIMITS]


def use_sentence(use: Use) -> str:
    """One comparison in words."""
    stream = f", {use.stream} stream" if use.stream else ""
    where = f"{use.path}{stream}: "
    if use.rho is None or use.chance is None:
        return (
            f"{where}nothing to compare ({use.measure}): the {use.blocks} blocks are too few, or "
            "all the same."
        )
    words = _WORDS[use.measure]
    said = words.neither
    if use.beyond:
        said = words.more if use.rho > 0 else words.less
    return (
        f"{where}{said} (rank correlation {use.rho:+.2f}, 95 % interval {use.low:+.2f} to "
        f"{use.high:+.2f}; as far from 0 in {_percent(use.chance)} of the shuffles of "
        f"{use.blocks} blocks)."
    )


def stream_name(each: BlockChange) -> str:
    """The stream's, or that both run through."""
    if each.block is None:
        return "-"
    return each.stream or "both"


def _of_the_plan(study: AdapterStudy) -> list[str]:
    """Whether the adapter is the plan's."""
    if study.plan is None:
        return []
    count = len(study.differences)
    if not count:
        return ["The adapter is the plan's: every Linear has the size that it plans."]
    listed = "; ".join(study.differences[:MOST])
    more = f"; and {count - MOST} more" if count > MOST else ""
    return [f"The adapter is NOT the plan's: {listed}{more}."]


def _parts(study: AdapterStudy) -> list[str]:
    """The parts that some block has, except a LoRA's only one."""
    named = {name: None for each in study.blocks for name in each.parts}
    return [name for name in named if name in ("w1", "w2")]


def _range(factors: Sequence[int]) -> str:
    if not factors:
        return "-"
    low, high = factors[0], factors[-1]
    return str(low) if low == high else f"{low} to {high}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
