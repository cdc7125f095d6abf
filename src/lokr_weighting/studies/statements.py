"""What the study of SD3, Flux and AuraFlow said of groups of blocks, asked of another model.

Each statement becomes a difference that is above 0 where it holds. Its interval is that of
resamples of the samples within timestep bins, in which every strategy sees the same samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import places_in_lists
from lokr_weighting.studies.ablation import Ablation, Captions, Obeyed, Span
from lokr_weighting.studies.costs import Asked, Costs
from lokr_weighting.studies.painters import (
    BEFORE,
    BEHIND,
    REPEAT_MIDDLE,
    WHOLE,
    Row,
    rows_of,
)

Verdict = Literal["agrees", "disagrees", "cannot tell"]
INTERVAL = (2.5, 97.5)  # percentiles of the resamples
OTHERS = (*(name for name in WHOLE if name != "skip every second"), REPEAT_MIDDLE)
GENTLER = tuple(WHOLE)
HALF = 0.5
TOO_FEW = "there are no such blocks here to compare"


@dataclass(frozen=True)
class Answer:
    """What was measured of one statement.

    Attributes:
        path: in which list of blocks.
        stream: by which stream's groups.
        statement: the study's.
        measured: what the number is, in words.
        value: in shares of `unit`, above 0 where the statement holds; None where it could not be
            measured.
        low: the lower end of its 95 % interval.
        high: the upper end.
        missing: why there is no number.
        unit: "loss": as it is; "images": of those drawn.
    """

    path: str
    stream: str
    statement: str
    measured: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    missing: str | None = None
    unit: Literal["loss", "images"] = "loss"

    @property
    def verdict(self) -> Verdict:
        """Whether this model agrees: the whole interval is on one side of 0, or it cannot tell."""
        if self.low is not None and self.low > 0:
            return "agrees"
        return "disagrees" if self.high is not None and self.high < 0 else "cannot tell"


def _minus(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return None if a is None or b is None else a - b


def _extreme(asked: Asked, names: Sequence[str], worst: bool) -> np.ndarray | None:
    """The cost of the worst, or the mildest, of several ways to run the groups."""
    costs = [cost for cost in map(asked.cost, names) if cost is not None]
    if not costs:
        return None
    return np.max(costs, axis=0) if worst else np.min(costs, axis=0)


def _translation(which: str) -> Callable[[Asked], np.ndarray | None]:
    return lambda asked: _minus(asked.skipping(asked.beside(which)), asked.skipping(asked.inside))


def _worse_than_repeating(asked: Asked) -> np.ndarray | None:
    beside = {*asked.beside(BEFORE), *asked.beside(BEHIND)}
    return _minus(asked.skipping(sorted(beside)), asked.cost(REPEAT_MIDDLE))


def _detail_more_than_layout(name: str) -> Callable[[Asked], np.ndarray | None]:
    return lambda asked: _minus(
        asked.cost(name, asked.costs.clean), asked.cost(name, asked.costs.noisy)
    )


def _against_skipping(name: str) -> Callable[[Asked], np.ndarray | None]:
    return lambda asked: _minus(asked.cost(name), asked.cost("skip all"))


def _layout_then_detail(asked: Asked) -> np.ndarray | None:
    middle = [span for span in asked.groups if span.name.startswith("middle ")]
    tried = [asked.rows[span]["skip all"].changes for span in middle]
    if len(middle) < 2 or not (tried[0] and tried[-1]) or middle[0].name == "middle half":
        return None
    noisy, clean = asked.costs.noisy, asked.costs.clean
    first, last = ([each.strategy for each in tried[place]] for place in (0, -1))
    of = asked.costs.of
    return (of(first, noisy) - of(first, clean)) - (of(last, noisy) - of(last, clean))


STATEMENTS: tuple[tuple[str, str, Callable[[Asked], np.ndarray | None]], ...] = (
    (
        "The block before a group translates: removing it is catastrophic",
        "skipping it, less skipping a block inside a group",
        _translation(BEFORE),
    ),
    (
        "The block behind a group translates too",
        "skipping it, less skipping a block inside a group",
        _translation(BEHIND),
    ),
    (
        "Removing a translating block is worse than repeating one of the group's",
        "skipping it, less repeating the middle block",
        _worse_than_repeating,
    ),
    (
        "Skipping some blocks of a group is the mildest",
        "the mildest other way, less skipping every second",
        lambda asked: _minus(_extreme(asked, OTHERS, worst=False), asked.cost("skip every second")),
    ),
    (
        "Repeating one block is the worst",
        "repeating the middle block, less the worst other way",
        lambda asked: _minus(asked.cost(REPEAT_MIDDLE), _extreme(asked, GENTLER, worst=True)),
    ),
    (
        "Looped parallel spares prompt adherence, not detail",
        "its cost at clean timesteps, less that at noisy ones",
        _detail_more_than_layout("looped parallel"),
    ),
    (
        "Reversing spares prompt adherence, not detail",
        "its cost at clean timesteps, less that at noisy ones",
        _detail_more_than_layout("reverse"),
    ),
    (
        "Running the middle in parallel is catastrophic",
        "its cost, less that of leaving the group out",
        _against_skipping("parallel"),
    ),
    (
        "Reversing is catastrophic",
        "its cost, less that of leaving the group out",
        _against_skipping("reverse"),
    ),
    (
        "Skipping the first block is not catastrophic",
        "leaving a group out, less skipping block 0",
        lambda asked: _minus(asked.cost("skip all"), asked.skipping([0])),
    ),
    (
        "The earlier middle group makes layout, the later one detail",
        "skipping it: noisy less clean timesteps, the first middle group less the last",
        _layout_then_detail,
    ),
)
"""What the study says; what is measured of it; how: above 0 where it holds."""


def answers_of(ablation: Ablation) -> list[Answer]:
    """What a model says to each of the study's statements, for each list and stream's groups.

    Args:
        ablation: of groups.

    Raises:
        LokrWeightingError: it is of no groups, or does not hold single samples.
    """
    if not ablation.spans:
        raise LokrWeightingError("the ablation is of no groups; run it with --groups")
    costs = Costs(ablation)
    lists: dict[tuple[str, str], dict[Span, dict[str, Row]]] = {}
    for row in rows_of(ablation):
        of_list = lists.setdefault((row.span.path, row.span.stream), {})
        of_list.setdefault(row.span, {})[row.name] = row
    counts = {path: len(places) for path, places in places_in_lists(ablation.blocks).items()}
    answers = []
    for (path, stream), rows in lists.items():
        skipped = frozenset(
            each.strategy.first
            for each in ablation.changes
            if each.strategy.kind == "skip"
            and each.strategy.path == path
            and each.strategy.first == each.strategy.last
        )
        asked = Asked(costs, rows, counts[path], path, skipped)
        for statement, measured, rule in STATEMENTS:
            found = rule(asked)
            if found is None:
                answers.append(Answer(path, stream, statement, measured, missing=TOO_FEW))
                continue
            low, high = np.percentile(found[1:], INTERVAL)
            answers.append(
                Answer(path, stream, statement, measured, float(found[0]), float(low), float(high))
            )
        if ablation.captions is not None:
            answers += [
                answer
                for name in ("looped parallel", "reverse")
                if (answer := _obeyed(ablation.captions, asked, stream, name)) is not None
            ]
    return answers


def _obeyed(captions: Captions, asked: Asked, stream: str, name: str) -> Answer | None:
    """Whether most images still show their caption; None where none were drawn."""
    own = {
        change.strategy
        for span in asked.groups
        if name in asked.rows[span]
        for change in asked.rows[span][name].changes
    }
    found = [obeyed for strategy, obeyed in captions.by_strategy if strategy in own]
    if not found:
        return None
    both = Obeyed(sum(each.right for each in found), sum(each.drawn for each in found))
    value, low, high = (each - HALF for each in (both.right / both.drawn, *both.interval))
    return Answer(
        asked.path,
        stream,
        f"{name.capitalize()}: captions are still obeyed",
        "images that show their caption, less half of them",
        value,
        low,
        high,
        unit="images",
    )
