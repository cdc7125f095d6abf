"""Collecting samples until the plan is settled."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.blocks import BlockLinear
from lokr_weighting.plan.budget import largest_size, possible_size
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.plan.selection import Selection
from lokr_weighting.plan.settled import Settled, judge
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.record import Measured, NotFinite, Record, stack_records
from lokr_weighting.records.store import CalibrationStore
from lokr_weighting.records.summary import Settings, Summary

SYSTEMATIC = 0.1  # a block that is not finite in more than this share of the samples
FEW = 4  # ... and in at least so many, is broken
PACKAGES = ("lokr-weighting", "torch", "diffusers", "transformers", "lycoris-lora", "numpy")
Progress = Callable[[int, int, Settled | None], None]
"""Called with (samples, the number at which the plan is judged next, the last judgement)."""


@dataclass
class Collector:
    """Keeps what is measured, on disk and in memory, and says when it is enough.

    Attributes:
        blocks: the model's blocks, in the order they run.
        linears: its Linears, whose splits are what must settle.
        settings: what the calibration is of.
        recipe: the recipe the plan will be made with; where that does not go by distances, the
            study's must settle.
        budget: its budget.
        selection: its part of the model.
        stop: when to stop.
        store: where to keep it; None: in memory alone.
        skipped: images left out -> why.
        on_progress: told after every addition and judgement.
        processes: how many measure together.
        similarity: whether every record must have the similarity of every pair of blocks.
    """

    blocks: Sequence[str]
    linears: Sequence[BlockLinear]
    settings: Settings
    recipe: Recipe
    budget: str | None = None
    selection: Selection | None = None
    stop: Stop = field(default_factory=Stop)
    store: CalibrationStore | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    on_progress: Progress = lambda *_: None
    processes: int = 1
    similarity: bool = False
    measured: list[Measured] = field(default_factory=list)
    settled: Settled | None = None
    _judged: int | None = None
    _before: Sequence[Measured] = ()

    def __post_init__(self) -> None:
        self.stop.check(self.recipe.bins)
        if self.budget is not None:
            known = self.linears
            if self.selection is not None:
                known = self.selection.known_part(self.linears, self.blocks)
            if known is None:
                largest_size(self.budget, self.linears)
            else:
                possible_size(self.budget, known)

    @property
    def count(self) -> int:
        """How many samples have been measured, finite or not."""
        return len(self.measured)

    @property
    def next_check(self) -> int:
        """The number of samples at which the plan is judged next."""
        return self.stop.next_check(self.count, self.recipe.bins)

    def open(self, folder: Path) -> list[Measured]:
        """Keep what is measured in a folder; what that already holds.

        Raises:
            LokrWeightingError: the folder cannot be used, or holds a calibration of something else.
        """
        self.store = CalibrationStore(folder, self.settings)
        return self.store.read()

    def close(self) -> None:
        """Let other processes use the folder."""
        if self.store is not None:
            self.store.close()

    def resume(self, measured: Sequence[Measured]) -> None:
        """Take over what an earlier run measured: the samples from 0 on without a gap.

        Where similarity is wanted and a sample lacks it, that sample and those behind it are
        measured once more.
        """
        for place, each in enumerate(measured):
            lacking = self.similarity and isinstance(each, Record) and each.pairs is None
            if each.sample != place or lacking:
                break
            self.measured.append(each)
        self._before = measured
        self._check_finite()

    def add(self, measured: Sequence[Measured]) -> None:
        """Take over new samples, in their order, and write them to the store.

        Raises:
            LokrWeightingError: a block gives NaN or Inf time and again.
        """
        if self.store is not None:
            self.store.append(measured)
        self.measured += measured
        if any(isinstance(each, NotFinite) for each in measured):
            self._check_finite()
        self.on_progress(self.count, self.next_check, self.settled)

    def judge_if_due(self) -> bool:
        """Judge the plan where a judgement is due; whether it is enough.

        Raises:
            LokrWeightingError: a timestep bin stayed empty.
        """
        if self.count < self.next_check:
            return False
        if self._judged != self.count:
            records = stack_records(self.records, self.recipe.tokens)
            recipe = self.recipe.of_distances
            self.settled = judge(
                records,
                self.linears,
                self.blocks,
                recipe,
                self.budget,
                selection=self.selection,
            )
            self._judged = self.count
            self.on_progress(self.count, self.next_check, self.settled)
        if self.stop.samples is not None or self.count >= self.stop.most:
            return True
        return self.is_settled

    def next_target(self) -> int:
        """How far to measure before judging again; after a judgement that was not enough."""
        return self.stop.next_check(self.count + 1, self.recipe.bins)

    @property
    def records(self) -> list[Record]:
        """The finite samples."""
        return [each for each in self.measured if isinstance(each, Record)]

    @property
    def is_settled(self) -> bool:
        """Whether the plan settled by the rule's share."""
        return self.settled is not None and self.settled.near >= self.stop.share

    def finish(self) -> Calibration:
        """The calibration, with all that was measured before; its summary goes to the store."""
        later = (each for each in self._before if (each.sample or 0) >= self.count)
        measured = [*self.measured, *later]
        calibration = Calibration(
            self.settings,
            tuple(self.blocks),
            tuple(each for each in measured if isinstance(each, Record)),
            tuple(each for each in measured if isinstance(each, NotFinite)),
            None if self.store is None else self.store.path,
            self.skipped,
            {package: metadata.version(package) for package in PACKAGES},
        )
        if self.store is not None:
            self.store.finish(self._summary(calibration))
        return calibration

    def _summary(self, calibration: Calibration) -> Summary:
        return calibration.summary(
            calibration.heatmaps(self.recipe.bins, self.recipe.tokens),
            same=self.settled and self.settled.same,
            near=self.settled and self.settled.near,
            settled=self.is_settled,
            processes=self.processes,
        )

    def _check_finite(self) -> None:
        failed = Counter(each.block for each in self.measured if isinstance(each, NotFinite))
        for block, count in failed.items():
            if count >= FEW and count > SYSTEMATIC * self.count:
                raise LokrWeightingError(
                    f"{block} gives NaN or Inf in {count} of {self.count} samples, so the model "
                    "cannot be measured like this; try another dtype (float16 overflows where "
                    "bfloat16 and float32 do not)"
                )
