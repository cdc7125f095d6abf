"""What a comparison of plans is of, and what came of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.records.average import bin_of
from lokr_weighting.studies.paired import Paired, paired
from lokr_weighting.studies.rivals import Arm

BINS = 10  # timestep bins


class Setup(BaseModel):
    """What decides a comparison's numbers: it is resumed only where all of it is the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plans: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "weighted",
        "uniform",
        "inverse",
        "random",
    )
    """Names of `RIVALS`, or files of plans; all are set against the reference."""
    reference: str = "uniform"
    """The plan that the others are compared with."""
    budget: str = "uniform:8"
    """As for a plan."""
    recipe: Recipe = Recipe()
    """The recipe of the weighted plan."""
    steps: Annotated[int, Field(ge=10)] = 200
    """Optimizer steps of each run."""
    batch: Annotated[int, Field(ge=1)] = 8
    """Samples in each."""
    seeds: Annotated[int, Field(ge=2)] = 3
    """Runs of each plan that are compared; one more chooses its learning rate."""
    rates: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=2)] = (
        2e-3,
        6e-3,
        2e-2,
    )
    """The grid of learning rates; continued where a plan's best lies on its edge."""
    samples: Annotated[int, Field(ge=2 * BINS)] = 160
    """Held-out (image, caption, noise, timestep), the same for all; half of them choose rates."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the images that is held out."""
    draws: Annotated[int, Field(ge=1)] = 3
    """Draws of plans that are drawn at random."""
    text_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens that a caption is padded or cut to; by default the pipeline's own number."""

    @model_validator(mode="after")
    def _makes_sense(self) -> "Setup":
        if list(self.rates) != sorted(set(self.rates)):
            raise ValueError("rates must grow from the first to the last")
        if self.reference not in self.plans:
            raise ValueError(f"the reference {self.reference!r} is not among the plans")
        return self


class RunFile(BaseModel):
    """One run: what it was and what it gave. The losses of a run that diverged are null."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    arm: str
    plan: str
    rate: float
    seed: int
    parameters: int
    losses: list[float | None]
    kept: list[float | None]
    seconds: float
    peak_bytes: int

    @property
    def values(self) -> np.ndarray:
        """The held-out samples' losses, (samples,)."""
        return np.array(self.losses, dtype=float)


@dataclass(frozen=True)
class Compared:
    """One plan beside the reference.

    Attributes:
        arm: the plan.
        rate: the learning rate that was chosen for it.
        on_edge: whether that is the lowest or the highest that was tried.
        tried: a learning rate -> the mean loss by which it was judged.
        diverged: how many of its runs gave NaN or Inf; then it is not compared.
        loss: the mean held-out loss; None where a run diverged.
        kept: the mean loss on the folder that should not be forgotten; None where there is none.
        difference: of the held-out loss from the reference's; None for the reference itself, or
            where a run of either diverged.
        by_bin: the same in each timestep bin, (bins,); None in a bin with a single image.
        kept_difference: the same on the folder that should not be forgotten.
        seconds: of one run, on average.
        peak_bytes: of the runs, the most.
    """

    arm: Arm
    rate: float
    on_edge: bool
    tried: dict[float, float]
    diverged: int
    loss: float | None
    kept: float | None
    difference: Paired | None
    by_bin: tuple[Paired | None, ...]
    kept_difference: float | None
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Comparison:
    """What was compared, and what came of it.

    Attributes:
        setup: the settings.
        job: what decides the samples, as in a calibration's settings.
        parameters: the budget.
        base: the mean held-out loss of the model as it is.
        base_kept: the same on the folder that should not be forgotten.
        held_out: each held-out sample's image, by its number among the images held out.
        compared: one for each plan.
    """

    setup: Setup
    job: dict[str, Any]
    parameters: int
    base: float
    base_kept: float | None
    held_out: tuple[int, ...]
    compared: tuple[Compared, ...]

    @property
    def verdicts(self) -> list[str]:
        """What can be said of each plan, in a sentence."""
        return [
            _verdict(each, self.setup)
            for each in self.compared
            if each.difference is not None or each.diverged
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "schema_version": 1,
            "setup": self.setup.model_dump(mode="json"),
            "job": self.job,
            "parameters": self.parameters,
            "base": self.base,
            "base_kept": self.base_kept,
            "held_out": list(self.held_out),
            "plans": [_entry(each) for each in self.compared],
            "verdicts": self.verdicts,
        }


def run_file(plan: str, rate: float, seed: int) -> str:
    """The name of a run's file: the plan's name, its learning rate and its seed."""
    return f"{plan}.rate{rate:.3g}.seed{seed}.json"


def chooses_rate(samples: int) -> np.ndarray:
    """Which held-out samples choose the learning rates, (samples,) of bool; the others compare.

    Rounds of one sample in each timestep bin go to either in turn.
    """
    return np.arange(samples) // BINS % 2 == 0


def best_rate(tried: Mapping[float, float]) -> float:
    """The learning rate with the least loss."""
    return min(sorted(tried), key=lambda rate: tried[rate])


def compared(
    arm: Arm,
    tried: dict[float, float],
    results: Mapping[str, Sequence[RunFile]],
    setup: Setup,
    images: np.ndarray,
    timesteps: np.ndarray,
) -> Compared:
    """One plan's runs beside the reference's, on the samples that did not choose its rate.

    Args:
        arm: the plan.
        tried: a learning rate -> the mean loss by which it was judged.
        results: a plan's name -> its runs, one for each seed.
        setup: the settings.
        images: each held-out sample's image, (samples,) of int.
        timesteps: each held-out sample's timestep, (samples,).
    """
    compares = ~chooses_rate(len(images))
    own, reference = (
        np.stack([run.values for run in results[name]])[:, compares]
        for name in (arm.name, setup.reference)
    )
    kept, reference_kept = (
        np.array([run.kept for run in results[name]], dtype=float)
        for name in (arm.name, setup.reference)
    )
    diverged = int(np.isnan(own).any(axis=1).sum())
    rates = sorted(tried)
    difference: Paired | None = None
    by_bin: tuple[Paired | None, ...] = ()
    if arm.name != setup.reference and not diverged and not np.isnan(reference).any():
        images, of_bin = images[compares], bin_of(timesteps[compares], BINS)
        difference = paired(reference, own, images)
        by_bin = tuple(
            paired(reference[:, of_bin == b], own[:, of_bin == b], images[of_bin == b])
            if len(set(images[of_bin == b])) > 1
            else None
            for b in range(BINS)
        )
    forgets = kept.size > 0 and not diverged
    return Compared(
        arm=arm,
        rate=best_rate(tried),
        on_edge=best_rate(tried) in (rates[0], rates[-1]),
        tried=tried,
        diverged=diverged,
        loss=None if diverged else float(own.mean()),
        kept=float(kept.mean()) if forgets else None,
        difference=difference,
        by_bin=by_bin,
        kept_difference=float((kept - reference_kept).mean()) if forgets and difference else None,
        seconds=float(np.mean([run.seconds for run in results[arm.name]])),
        peak_bytes=max(run.peak_bytes for run in results[arm.name]),
    )


def _verdict(compared: Compared, setup: Setup) -> str:
    difference = compared.difference
    if difference is None:
        return (
            f"{compared.arm.name}: {compared.diverged} of {setup.seeds} trainings diverged at its "
            f"best learning rate, {compared.rate:.2g}, so it is not compared; try smaller rates."
        )
    said = (
        f"{1000 * difference.mean:+.2f} ({1000 * difference.low:+.2f} to "
        f"{1000 * difference.high:+.2f}) thousandths of loss"
    )
    beside = f"{compared.arm.name} beside {setup.reference}: "
    if difference.shown:
        word = "worse" if difference.mean > 0 else "better"
        return f"{beside}{word}, by {said}."
    more = (
        f"about {difference.seeds_needed} seeds instead of {setup.seeds} would show one this large"
        if difference.seeds_needed
        else "more seeds would hardly help: more held-out images are needed"
    )
    return f"{beside}no difference could be shown, {said}; {more}."


def _entry(compared: Compared) -> dict[str, Any]:
    def interval(each: Paired | None) -> dict[str, Any] | None:
        if each is None:
            return None
        return {"mean": each.mean, "low": each.low, "high": each.high, "seeds": each.seeds_needed}

    return {
        "name": compared.arm.name,
        "group": compared.arm.group,
        "plan": compared.arm.plan.identity,
        "kind": compared.arm.kind,
        "parameters": compared.arm.plan.parameters,
        "rate": compared.rate,
        "on_edge": compared.on_edge,
        "tried": [[rate, None if math.isinf(x) else x] for rate, x in compared.tried.items()],
        "diverged": compared.diverged,
        "loss": compared.loss,
        "difference": interval(compared.difference),
        "by_bin": [interval(each) for each in compared.by_bin],
        "kept": compared.kept,
        "kept_difference": compared.kept_difference,
        "seconds": compared.seconds,
        "peak_bytes": compared.peak_bytes,
    }
