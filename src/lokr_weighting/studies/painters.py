"""The painters' experiments on groups of blocks: which strategies, and what each did to a group.

As in "Transformer Layers as Painters" (Sun et al., 2024, arXiv 2407.09298), and as it was carried
over to SD3, Flux and AuraFlow: on each group of neighbouring blocks that are alike, and on the
blocks just before and just behind it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lokr_weighting.models.blocks import places_in_lists
from lokr_weighting.records.average import binned_mean
from lokr_weighting.studies.ablation import Ablation, Change, Refused, Span
from lokr_weighting.studies.groups import Grouping
from lokr_weighting.studies.strategies import TIMES, Kind, Strategy, drawn_order

ORDERS = 3  # random orders of each group
UNDIVIDED = "middle half"
BEFORE, BEHIND, ONE = "skip the block before", "skip the block behind", "skip one block"
REPEAT_MIDDLE, REPEAT_ANY = "repeat the middle block", "repeat any block"
WHOLE: dict[str, Kind] = {
    "skip all": "skip",
    "skip every second": "skip every second",
    "reverse": "reverse",
    "random order": "random order",
    "parallel": "parallel",
    "looped parallel": "looped",
}
"""What is done with a group as a whole -> the strategy's kind."""
ANY_NUMBER: dict[str, Kind] = {"random order": "random order", "looped parallel": "looped"}
"""Those whose number of orders or loops the user chose."""
ROWS = (ONE, *WHOLE, REPEAT_MIDDLE, REPEAT_ANY, BEFORE, BEHIND)
"""What is tried on each group, in the order of the table."""


@dataclass(frozen=True)
class Row:
    """What one way to run a group did to the loss.

    Attributes:
        span: the group.
        name: one of `ROWS`.
        changes: of its strategies: one, or as many as there are blocks or random orders.
        refused: those of its strategies that could not be run.
        error: the standard error of the mean of its changes.
    """

    span: Span
    name: str
    changes: tuple[Change, ...]
    refused: tuple[Refused, ...]
    error: float

    @property
    def change(self) -> float:
        """The mean change of the loss; NaN where nothing could be run."""
        return float(np.mean([each.change for each in self.changes])) if self.changes else np.nan

    @property
    def spread(self) -> tuple[float, float] | None:
        """The least and the largest change, where there are several strategies."""
        every = [each.change for each in self.changes]
        return (min(every), max(every)) if len(every) > 1 else None

    @property
    def by_bin(self) -> np.ndarray:
        """The mean change in each timestep bin, (bins,)."""
        return np.mean([each.by_bin for each in self.changes], axis=0)


def spans_of(groupings: Sequence[Grouping], blocks: Sequence[str]) -> list[Span]:
    """The groups to try strategies on; where a list is not divided, its middle half.

    Args:
        groupings: as `similarity` found them.
        blocks: the model's blocks.
    """
    counts = {path: len(places) for path, places in places_in_lists(blocks).items()}
    spans = []
    for each in groupings:
        count = counts[each.path]
        if len(each.groups) > 1:
            spans += [
                Span(each.path, each.stream, group.name, group.first, group.last)
                for group in each.groups
            ]
        elif count > 1:
            first, last = count // 4, count - count // 4 - 1
            spans.append(Span(each.path, each.stream, UNDIVIDED, first, last))
    return spans


def strategies_in(
    span: Span, blocks: int, *, loops: int = TIMES, orders: int = ORDERS
) -> dict[str, list[Strategy]]:
    """What is tried on a group: one of `ROWS` -> its strategies.

    Args:
        span: the group.
        blocks: how many its list has.
        loops: how often the looped parallel runs the group.
        orders: how many random orders.
    """
    path, first, last = span.path, span.first, span.last
    rows = {ONE: [Strategy("skip", path, each, each) for each in range(first, last + 1)]}
    if last > first:
        for name, kind in WHOLE.items():
            rows[name] = [Strategy(kind, path, first, last)]
        rows["looped parallel"] = [Strategy("looped", path, first, last, times=loops)]
        rows["random order"] = [
            Strategy("random order", path, first, last, seed=seed)
            for seed in _seeds(last - first + 1, orders)
        ]
        repeats = [
            Strategy("repeat", path, first, last, by=each) for each in range(first, last + 1)
        ]
        rows[REPEAT_MIDDLE] = [repeats[len(repeats) // 2]]
        rows[REPEAT_ANY] = repeats
    if first > 0:
        rows[BEFORE] = [Strategy("skip", path, first - 1, first - 1)]
    if last < blocks - 1:
        rows[BEHIND] = [Strategy("skip", path, last + 1, last + 1)]
    return {name: rows[name] for name in ROWS if name in rows}


def _seeds(blocks: int, orders: int) -> list[int]:
    """The first seeds that give so many different orders, or all there are."""
    found: dict[tuple[int, ...], int] = {}
    wanted = min(orders, math.factorial(blocks) - 1)
    for seed in itertools.count():
        if len(found) == wanted:
            break
        found.setdefault(tuple(drawn_order(blocks, seed)), seed)
    return list(found.values())


def group_strategies(
    spans: Sequence[Span], blocks: Sequence[str], *, loops: int = TIMES, orders: int = ORDERS
) -> list[Strategy]:
    """Each block skipped, and everything that is tried on the groups; each strategy once.

    Args:
        spans: the groups.
        blocks: the model's blocks.
        loops: as for `strategies_in`.
        orders: the same.
    """
    lists = places_in_lists(blocks)
    chosen = [
        Strategy("skip", path, place, place)
        for path, places in lists.items()
        for place in range(len(places))
    ]
    for span in spans:
        rows = strategies_in(span, len(lists[span.path]), loops=loops, orders=orders)
        for strategies in rows.values():
            chosen += strategies
    return list(dict.fromkeys(chosen))


def drawn_strategies(ablation: Ablation) -> list[Strategy]:
    """Those whose images are worth a look: of groups as a whole and of the blocks beside them.

    Of random orders there are too many. Where there are no groups, all.
    """
    if not ablation.spans:
        return [each.strategy for each in ablation.changes]
    found = {
        change.strategy: None
        for row in rows_of(ablation)
        if row.name not in (ONE, REPEAT_ANY, "random order")
        for change in row.changes
    }
    return list(found)


def rows_of(ablation: Ablation) -> list[Row]:
    """What was tried on every group, and what it did.

    Args:
        ablation: measured with the strategies of `group_strategies`.
    """
    counts = {path: len(places) for path, places in places_in_lists(ablation.blocks).items()}
    done = {each.strategy: each for each in ablation.changes}
    refused = {each.strategy: each for each in ablation.refused}
    rows = []
    for span in ablation.spans:
        tried = strategies_in(span, counts[span.path])
        for name, kind in ANY_NUMBER.items():
            if name in tried:
                tried[name] = [
                    each
                    for each in (*done, *refused)
                    if each.kind == kind
                    and (each.path, each.first, each.last) == (span.path, span.first, span.last)
                ]
        for name, strategies in tried.items():
            changes = tuple(done[each] for each in strategies if each in done)
            missed = tuple(refused[each] for each in strategies if each in refused)
            rows.append(Row(span, name, changes, missed, _error(ablation, changes)))
    return rows


def _error(ablation: Ablation, changes: Sequence[Change]) -> float:
    """The standard error of the mean of some changes, which are of the same samples."""
    if len(changes) == 1:
        return changes[0].error
    seen = ablation.samples_seen
    samples = [each.by_sample for each in changes if each.by_sample is not None]
    if seen is None or not samples:
        return np.nan
    bins = len(seen.image)
    error = binned_mean(np.mean(samples, axis=0)[:, None], seen.timesteps, bins)[1]
    return np.nan if error is None else float(error[0])
