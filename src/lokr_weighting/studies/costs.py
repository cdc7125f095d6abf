"""What strategies cost, with resamples: as the study's statements ask of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.records.average import binned_mean, resampled
from lokr_weighting.studies.ablation import Ablation, Span
from lokr_weighting.studies.painters import BEFORE, BEHIND, Row
from lokr_weighting.studies.strategies import Strategy

RESAMPLES = 1000


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
