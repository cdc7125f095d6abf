"""The tables of the painters' experiments: what was tried on each group, the study's statements."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from lokr_weighting.studies.ablation import Ablation, Obeyed
from lokr_weighting.studies.painters import REPEAT_ANY, Row, rows_of
from lokr_weighting.studies.statements import Answer
from lokr_weighting.studies.strategies import Strategy


def painters_table(ablation: Ablation, *, by_bin: bool = False) -> Table:
    """List x group x what was tried: the change of the loss.

    Args:
        ablation: of groups.
        by_bin: a column for every timestep bin instead of the spread.
    """
    rows = rows_of(ablation)
    captions = {} if ablation.captions is None else dict(ablation.captions.by_strategy)
    title = f"Loss as it is: {ablation.loss:.4f}; change when groups of blocks are run otherwise"
    table = Table(title=title, title_justify="left")
    for name in ("blocks", "group by", "tried"):
        table.add_column(name)
    table.add_column("change of the loss", justify="right")
    bins = _bins(ablation)
    if by_bin:
        for number in range(bins):
            table.add_column(f"{number / bins:.1f}", justify="right")
    else:
        table.add_column("of the loss", justify="right")
        table.add_column("from, to", justify="right")
    if captions:
        table.add_column("captions obeyed", justify="right")
    shown = None
    for row in rows:
        span = row.span
        if span != shown:
            table.add_section()
        first = span != shown
        shown = span
        table.add_row(
            f"{span.path}.{_label(row)}" if first else "",
            f"{span.stream}: {span.name}" if first else "",
            row.name,
            *_cells(row, ablation, bins if by_bin else None),
            *([_obeyed(row, captions)] if captions else []),
        )
    return table


def _obeyed(row: Row, captions: Mapping[Strategy, Obeyed]) -> str:
    """How many images show their caption, where all of the row's strategies were drawn."""
    strategies = [each.strategy for each in row.changes]
    if not strategies or not all(each in captions for each in strategies):
        return ""
    found = [captions[each] for each in strategies]
    return f"{sum(each.right for each in found)} of {sum(each.drawn for each in found)}"


def _label(row: Row) -> str:
    span = row.span
    return f"{span.first}" if span.first == span.last else f"{span.first}-{span.last}"


def _bins(ablation: Ablation) -> int:
    return len(ablation.changes[0].by_bin) if ablation.changes else 0


def _cells(row: Row, ablation: Ablation, bins: int | None) -> list[str]:
    """The change and what stands beside it; how many strategies could not be run."""
    if not row.changes:
        return ["cannot be run", *[""] * (2 if bins is None else bins)]
    change = f"{row.change:+.4f} ±{row.error:.4f}"
    if bins is not None:
        return [change, *(f"{each:+.3f}" for each in row.by_bin)]
    beside = ""
    if row.spread is not None:
        low, high = row.spread
        beside = f"{low:+.3f} to {high:+.3f}"
        worst = max(row.changes, key=lambda each: each.change).strategy
        if row.name == REPEAT_ANY:
            beside += f" ({worst.by})"
        beside += f", {len(row.changes)} tried"
    if row.refused:
        beside += f"{', ' if beside else ''}{len(row.refused)} cannot be run"
    return [change, f"{row.change / ablation.loss:+.0%}", beside]


def painters_remarks(ablation: Ablation) -> list[str]:
    """What the table's columns mean, and what could not be run."""
    said = [
        "± is a standard error over the samples; from, to: the least and the greatest of several "
        "orders, repeated blocks (the worst's number) or skipped blocks."
    ]
    said += [
        f"{each.path}, {each.stream} stream: is not divided into groups; its middle half stands "
        "for one."
        for each in ablation.spans
        if each.name == "middle half"
    ]
    if ablation.captions is not None:
        plain, accuracy = ablation.captions.plain, ablation.captions.accuracy
        said.append(
            f"Captions obeyed: images that look most like your own images of their caption; of the "
            f"model as it is {plain.right} of {plain.drawn}, of your own images, each held out, "
            f"{accuracy:.0%}."
        )
    reasons: dict[str, list[str]] = {}
    for each in ablation.refused:
        reasons.setdefault(each.reason, []).append(each.strategy.label)
    said += [f"{', '.join(labels)}: {reason}." for reason, labels in reasons.items()]
    return said


def statements_table(answers: Sequence[Answer]) -> Table:
    """The study's statements, and what this model says to each."""
    title = "The statements of the study of SD3, Flux and AuraFlow, on this model and these data"
    table = Table(title=title, title_justify="left")
    for name in ("groups of", "statement", "measured"):
        table.add_column(name)
    for name in ("95 % interval", "this model"):
        table.add_column(name, justify="right")
    shown = None
    for each in answers:
        where = f"{each.path}, {each.stream}"
        if where != shown:
            table.add_section()
        table.add_row(
            "" if where == shown else where,
            each.statement,
            each.missing or f"{each.value:+.0%} of the {each.unit}: {each.measured}",
            _interval(each),
            each.verdict,
        )
        shown = where
    return table


def _interval(answer: Answer) -> str:
    if answer.low is None or answer.high is None or np.isnan(answer.low):
        return ""
    return f"{answer.low:+.0%} to {answer.high:+.0%}"


def statements_remarks() -> list[str]:
    """How the statements were asked."""
    return [
        "A number above 0 is what the study says; a whole interval above 0 agrees, one below 0 "
        "disagrees. Each interval is of the samples, and for its statement alone. Of the middle "
        "groups of two blocks or more, or all such groups where there is no middle one. "
        "Catastrophic: worse than leaving the whole group out. Noisy timesteps (0.5 to 1) stand "
        "for layout and prompt, clean ones for detail: that is an assumption, not a measurement."
    ]
