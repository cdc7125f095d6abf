"""Collecting samples until the plan is settled."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata

from lokr_weighting.blocks import BlockLinear
from lokr_weighting.budget import possible_size
from lokr_weighting.calibration import (
    Calibration,
    Folder,
    Measured,
    NotFinite,
    Settings,
    Summary,
)
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.heatmaps import nulls
from lokr_weighting.pairs import Pairs
from lokr_weighting.probe import Distances
from lokr_weighting.recipe import Recipe
from lokr_weighting.records import Record, stack_records
from lokr_weighting.settle import Settled, judge

SYSTEMATIC = 0.1  # a block that is not finite in more than this share of the samples
FEW = 4  # ... and in at least so many, is broken
PACKAGES = ("lokr-weighting", "torch", "diffusers", "transformers", "lycoris-lora", "numpy")


@dataclass(frozen=True)
class Stop:
    """When to stop.

    Attributes:
        samples: measure exactly so many; None: stop when the plan is settled.
        per_bin: samples in every bin before the plan is judged for the first time.
        most: stop here at the latest.
        share: settled when at least this share of the resamples is within one split of the plan.
        growth: between two judgements the samples grow by this factor.
    """

    samples: int | None = None
    per_bin: int = 8
    most: int = 2048
    share: float = 0.95
    growth: float = 1.25

    def next_check(self, count: int, bins: int) -> int:
        """The first number of samples, from `count` on, at which the plan is judged."""
        if self.samples is not None:
            return self.samples
        check = self.per_bin * bins
        while check < min(count, self.most):
            check = math.ceil(check * self.growth / bins) * bins
        return min(check, self.most)


@dataclass
class Collector:
    """Keeps what is measured, on disk and in memory, and says when it is enough.

    Attributes:
        blocks: the model's blocks, in the order they run.
        linears: its Linears, whose splits are what must settle.
        settings: what the calibration is of.
        recipe: the recipe the plan will be made with.
        budget: its budget.
        stop: when to stop.
        folder: where to keep it; None: in memory alone.
        skipped: images left out -> why.
        on_progress: called after every addition with (samples, the next judgement, the last one).
        processes: how many measure together.
        similarity: whether every record must have the similarity of every pair of blocks.
    """

    blocks: Sequence[str]
    linears: Sequence[BlockLinear]
    settings: Settings
    recipe: Recipe
    budget: str | None = None
    stop: Stop = field(default_factory=Stop)
    folder: Folder | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    on_progress: Callable[[int, int, Settled | None], None] = lambda *_: None
    processes: int = 1
    similarity: bool = False
    measured: list[Measured] = field(default_factory=list)
    settled: Settled | None = None
    _before: Sequence[Measured] = ()

    def __post_init__(self) -> None:
        fewest = 2 * self.recipe.bins
        for name, count in (("samples", self.stop.samples), ("max samples", self.stop.most)):
            if count is not None and count < fewest:
                raise LokrWeightingError(
                    f"{name} = {count}: {self.recipe.bins} timestep bins need at least {fewest}"
                )
        if self.budget is not None:
            possible_size(self.budget, self.linears)

    @property
    def count(self) -> int:
        """How many samples have been measured, finite or not."""
        return len(self.measured)

    @property
    def next_check(self) -> int:
        """The number of samples at which the plan is judged next."""
        return self.stop.next_check(self.count, self.recipe.bins)

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
        """Take over new samples, in their order, and write them to the folder.

        Raises:
            LokrWeightingError: a block gives NaN or Inf time and again.
        """
        if self.folder is not None:
            self.folder.append(measured)
        self.measured += measured
        if any(isinstance(each, NotFinite) for each in measured):
            self._check_finite()
        self.on_progress(self.count, self.next_check, self.settled)

    def enough(self) -> bool:
        """Whether to stop: judges the plan where a judgement is due.

        Raises:
            LokrWeightingError: a timestep bin stayed empty.
        """
        if self.count < self.next_check:
            return False
        records = stack_records(self.records, self.recipe.tokens)
        self.settled = judge(records, self.linears, self.blocks, self.recipe, self.budget)
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
        """The calibration, with all that was measured before; its summary goes to the folder."""
        self.measured += [each for each in self._before if (each.sample or 0) >= self.count]
        failed = [each for each in self.measured if isinstance(each, NotFinite)]
        calibration = Calibration(
            self.settings,
            tuple(self.blocks),
            tuple(self.records),
            tuple(failed),
            None if self.folder is None else self.folder.path,
            self.skipped,
        )
        if self.folder is not None:
            self.folder.finish(self._summary(calibration))
        return calibration

    def _summary(self, calibration: Calibration) -> Summary:
        heatmaps = calibration.heatmaps(self.recipe.bins, self.recipe.tokens)
        image_error, text_error = heatmaps.image_error, heatmaps.text_error
        return Summary(
            settings=dict(self.settings),
            blocks=calibration.blocks,
            samples=len(calibration.records),
            not_finite=calibration.not_finite_by_block,
            settled=self.is_settled,
            same=self.settled and self.settled.same,
            near=self.settled and self.settled.near,
            image=heatmaps.image.mean(axis=0).tolist(),
            image_error=None if image_error is None else image_error.tolist(),
            text=nulls(heatmaps.text.mean(axis=0)),
            text_error=None if text_error is None else nulls(text_error),
            skipped=self.skipped,
            processes=self.processes,
            versions={package: metadata.version(package) for package in PACKAGES},
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


def measured_of(
    distances: Distances, blocks: Sequence[str], timesteps: Sequence[float], first: int
) -> list[Measured]:
    """The samples of one forward, numbered from `first`, as records or as not finite."""
    found: list[Measured] = []
    for row, timestep in enumerate(timesteps):
        broken = distances.not_finite[row]
        if broken.any():
            found.append(NotFinite(sample=first + row, block=blocks[int(broken.argmax())]))
            continue
        record = Record(
            timestep=timestep,
            hidden_states=_numbers(distances.image[row]),
            encoder_hidden_states=_with_text(distances.text[row], distances.has_text),
            hidden_states_last=_numbers(distances.image_last[row]),
            encoder_hidden_states_last=_with_text(distances.text_last[row], distances.has_text),
            sample=first + row,
        )
        if distances.image_pairs is not None and distances.text_pairs is not None:
            record = record.with_pairs(Pairs(distances.image_pairs[row], distances.text_pairs[row]))
        found.append(record)
    return found


def _numbers(row) -> list[float]:
    """The shortest decimals that read back as the same float32."""
    return [float(str(value)) for value in row]


def _with_text(row, has_text) -> list[float | None]:
    """The text stream's distances: null for a block without, and none after the last with."""
    values: list[float | None] = [
        number if known else None for number, known in zip(_numbers(row), has_text, strict=True)
    ]
    while values and values[-1] is None:
        values.pop()
    return values
