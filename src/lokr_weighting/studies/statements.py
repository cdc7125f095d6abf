"""What the study of SD3, Flux and AuraFlow said of groups of blocks, asked of another model.

Each statement becomes a difference that is above 0 where it holds. Its interval is that of resamples
of the samples within timestep bins, in which every strategy sees the same samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import places_in_lists
from lokr_weighting.records.average import binned_mean, resampled
from lokr_weighting.studies.ablation import Ablation, Span
from lokr_weighting.studies.painters import (
    BEFORE,
    BEHIND,
    REPEAT_MIDDLE,
    WHOLE,
    Row,
    rows_of,
)
from lokr_weighting.studies.strategies import Strategy

Verdict = Literal["agrees", "disagrees", "cannot tell"]
RESAMPLES = 1000
INTERVAL = (2.5, 97.5)  # percentiles of the resamples
OTHERS = (*(name for name in WHOLE if name != "skip every second"), REPEAT_MIDDLE)
GENTLER = tuple(WHOLE)
TOO_FEW = "there is no such group here"


@dataclass(frozen=True)
class Answer:
    """What was measured of one statement.

    Attributes:
        path: in which list of blocks.
        stream: by which stream's groups.
        statement: the study's.
        measured: what the number is, in words.
        value: in shares of the loss as it is, above 0 where the statement holds; None where it
            could not be measured.
        low: the lower end of its 95 % interval.
        high: the upper end.
        missing: why there is no number.
    """

    path: str
    stream: str
    statement: str
    measured: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    missing: str | None = None

    @property
    def verdict(self) -> Verdict:
        """Whether this model agrees: the whole interval is on one side of 0, or it cannot tell."""
        if self.low is not None and self.low > 0:
            return "agrees"
        return "disagrees" if self.high is not None and self.high < 0 else "cannot tell"


class Costs:
    """What strategies cost in the samples and in their resamples, in shares of the loss.

    Args:
        ablation: with single samples.
    """

    def __init__(self, ablation: Ablation) -> None:
        seen = ablation.samples_seen
        changes = [each for each in ablation.changes if each.by_sample is not None]
        if seen is None or not changes:
            raise LokrWeightingError(
                "the ablation does not hold single samples: it is of an earlier version; run it "
                "again"
            )
        columns = [seen.losses, *(each.by_sample for each in changes)]
        values = np.stack([each for each in columns if each is not None], axis=1)
        bins = len(seen.image)
        whole = binned_mean(values, seen.timesteps, bins)[0]
        (drawn,) = resampled([values], seen.timesteps, bins, resamples=RESAMPLES)
        self._values = np.concatenate([whole[None], drawn])  # (1 + resamples, bins, columns)
        self._column = {each.strategy: place for place, each in enumerate(changes, start=1)}
        self.clean, self.noisy = slice(0, bins // 2), slice(bins - bins // 2, bins)

    def of(self, strategies: Sequence[Strategy], bins: slice = slice(None)) -> np.ndarray:
        """Their mean cost, (1 + resamples,), that of the samples themselves first.

        Args:
            strategies: that were run.
            bins: of these timestep bins, in shares of the loss there.
        """
        columns = [self._column[each] for each in strategies]
        own = self._values[:, bins]
        return own[:, :, columns].mean(axis=(1, 2)) / own[:, :, 0].mean(axis=1)


@dataclass(frozen=True)
class Asked:
    """One list of blocks by one stream's groups, as statements ask of it.

    Attributes:
        costs: of the strategies.
        rows: what was run on each group.
        blocks: how many the list has.
        path: the list's name.
        skipped: the list's blocks that were skipped alone.
    """

    costs: Costs
    rows: dict[Span, dict[str, Row]]
    blocks: int
    path: str
    skipped: frozenset[int]

    @property
    def groups(self) -> list[Span]:
        """The middle groups of two blocks or more; where there is none, all such groups."""
        several = [each for each in self.rows if each.last > each.first]
        return [each for each in several if each.name.startswith("middle")] or several

    def cost(self, name: str, bins: slice = slice(None)) -> np.ndarray | None:
        """The mean cost of one way to run a group, over the groups; None where none could be."""
        strategies = [
            change.strategy
            for span in self.groups
            if name in self.rows[span]
            for change in self.rows[span][name].changes
        ]
        return self.costs.of(strategies, bins) if strategies else None

    def skipping(self, places: Sequence[int]) -> np.ndarray | None:
        """The mean cost of skipping one of these blocks alone."""
        skipped = [Strategy("skip", self.path, i, i) for i in places if i in self.skipped]
        return self.costs.of(skipped) if skipped else None

    def beside(self, which: str) -> list[int]:
        """The blocks just before (`BEFORE`) or behind (`BEHIND`) a group."""
        places = {
            span.first - 1 if which == BEFORE else span.last + 1
            for span, rows in self.rows.items()
            if which in rows
        }
        return sorted(places)

    @property
    def inside(self) -> list[int]:
        """The blocks in groups that have their own group's on both sides."""
        ends = {*self.beside(BEFORE), *self.beside(BEHIND), 0, self.blocks - 1}
        every = {i for span in self.rows for i in range(span.first, span.last + 1)}
        return sorted(every - ends)


def _minus(a: np.ndarray | None, b: np.ndarray | None) -> np.ndarray | None:
    return None if a is None or b is None else a - b


def _extreme(asked: Asked, names: Sequence[str], worst: bool) -> np.ndarray | None:
    """The cost of the worst, or the mildest, of several ways to run the groups."""
    costs = [cost for cost in map(asked.cost, names) if cost is not None]
    if not costs:
        return None
    return np.max(costs, axis=0) if worst else np.min(costs, axis=0)


def _translation(which: str) -> Callable[[Asked], np.ndarray | None]:
    return lambda asked: _minus(
        asked.skipping(asked.beside(which)), asked.skipping(asked.inside)
    )


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
        lambda asked: _minus(
            _extreme(asked, OTHERS, worst=False), asked.cost("skip every second")
        ),
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
    return answers
