"""What a report says of a measurement and its plan."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lokr_weighting.plan.plan import Plan
from lokr_weighting.plan.settled import Settled
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.show.plan_tables import counted
from lokr_weighting.targets.registry import LYCORIS, NotExact

if TYPE_CHECKING:
    from torch import nn

FACTS = {
    "model": "model",
    "data": "dataset fingerprint",
    "images": "images",
    "datasets": "images in each dataset",
    "shares": "share of the samples of each dataset",
    "seed": "seed",
    "resolution": "resolution",
    "frames": "most frames of a video",
    "transformer": "transformer",
    "timesteps": "its timesteps, counted as 0 to 1",
    "dtype": "dtype",
    "precision": "base precision",
    "quantization": "quantization",
    "weights": "weights fingerprint",
}
"""Keys of a calibration's settings that are worth showing -> what they are called."""


def summary(plan: Plan, judged: Sequence[Settled] = ()) -> list[str]:
    """The plan in a few sentences."""
    lines = [
        f"{plan.parameters:,} trainable parameters in {counted(plan)}"
        + (f", within the budget {plan.budget}." if plan.budget else ".")
    ]
    if plan.critical:
        share = plan.parameters_of(*plan.critical) / plan.parameters
        lines.append(f"{_critical(plan)} They take {share:.0%} of the parameters.")
    if judged:
        last = judged[-1]
        lines.append(
            f"After {last.samples} samples, {last.near:.0%} of the resamples give a plan within "
            f"one split of this in every Linear, and {last.same:.0%} this very plan."
        )
    return lines


def _critical(plan: Plan) -> str:
    """Which blocks are critical, and why."""
    if plan.recipe.critical != "rule":
        return f"Critical blocks: {', '.join(map(str, plan.critical))}, given in the recipe."
    reasons = ", ".join(
        f"{index} ({' and '.join(plan.blocks[index].critical)})" for index in plan.critical
    )
    return (
        f"Critical blocks: {reasons}. In at least {plan.recipe.critical_share:.0%} of the "
        f"timestep bins they lie above the {plan.recipe.critical_percentile:g}th percentile of "
        "the stream that is named."
    )


def facts(
    measured: Calibration | Heatmaps, plan: Plan, heatmaps: Heatmaps
) -> list[tuple[str, Any]]:
    """What was measured, how, and with what: a name and a value each."""
    calibration = measured if isinstance(measured, Calibration) else None
    settings = calibration.settings if calibration else {}
    known = {label: settings[key] for key, label in FACTS.items() if settings.get(key) is not None}
    listed: dict[str, Any] = {
        "model": plan.model,
        **known,
        "samples": f"{plan.measurement.samples:,}" if plan.measurement.samples else "not known",
        "timestep bins": heatmaps.bins,
        "tokens": plan.recipe.tokens,
        "measurement": plan.measurement.identity,
        "plan": plan.identity,
    }
    if heatmaps.description:
        listed["description"] = heatmaps.description
    if calibration and calibration.versions:
        listed["versions"] = ", ".join(f"{name} {x}" for name, x in calibration.versions.items())
    return list(listed.items())


def read_back(plan: Plan, model: "nn.Module | None") -> str:
    """What LyCORIS makes of the plan, in a sentence."""
    try:
        said = LYCORIS.prepare(plan, model, None).read_back
    except NotExact as error:
        return str(error)
    return said or "Not read back: the model's architecture is not known here (--model)."
