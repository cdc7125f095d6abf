"""Pipelines of two transformers, each trained for a share of the timesteps of its own (Wan 2.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lokr_weighting.errors import LokrWeightingError

NAMES = ("transformer", "transformer_2")
"""What pipelines call them: the one for much noise, and the one for little."""
BOTH = "both"


@dataclass(frozen=True)
class Expert:
    """One of the two.

    Attributes:
        name: what the pipeline calls it.
        low: the lowest share of noise that it is trained for, in [0, 1].
        high: the highest.
    """

    name: str
    low: float
    high: float

    @property
    def said(self) -> str:
        """Its timesteps, in words."""
        return f"{self.name} for timesteps {self.low:g} to {self.high:g}"


def experts_of(index: Mapping[str, Any], where: str) -> tuple[Expert, ...]:
    """The two transformers of a pipeline; none where it has one.

    Args:
        index: what its folder says of itself, or its configuration.
        where: the folder, for messages.

    Raises:
        LokrWeightingError: it does not say where one ends and the other begins.
    """
    boundary = index.get("boundary_ratio")
    second = index.get(NAMES[1]) not in (None, [None, None])
    if boundary is None and not second:
        return ()
    first = index.get(NAMES[0]) not in (None, [None, None])
    # True is 1, which is no boundary
    if isinstance(boundary, int | float) and 0 < boundary < 1 and first and second:
        return Expert(NAMES[0], boundary, 1.0), Expert(NAMES[1], 0.0, boundary)
    raise LokrWeightingError(
        f"{where}: boundary_ratio = {boundary!r}: a pipeline of two transformers needs "
        f"{' and '.join(NAMES)}, and a boundary_ratio between 0 and 1 that says at which "
        "timestep one ends and the other begins"
    )


def chosen_expert(index: Mapping[str, Any], choice: str | None, where: str) -> Expert | None:
    """The transformer that is chosen; None where the pipeline has one, and it.

    Raises:
        LokrWeightingError: there are two and none is chosen, or there is no such one.
    """
    experts = experts_of(index, where)
    found = next((each for each in experts if each.name == choice), None)
    if found is not None or (not experts and choice in (None, NAMES[0])):
        return found
    if not experts:
        raise LokrWeightingError(
            f"{where}: --transformer {choice}: this {index['_class_name']} has one transformer; "
            "leave --transformer out"
        )
    said = " and ".join(each.said for each in experts)
    raise LokrWeightingError(
        f"{where}: this {index['_class_name']} has two transformers, each with blocks and a plan "
        f"of its own: {said}; say which is meant with --transformer {' or '.join(NAMES)}"
    )


def loaded_expert(pipeline: Any) -> Expert | None:
    """The transformer of two that a loaded pipeline holds alone; None where it has but one."""
    config = getattr(pipeline, "config", {})
    if config.get("boundary_ratio") is None:
        return None
    there = {name: getattr(pipeline, name) is not None for name in NAMES}
    both = experts_of({**config, **dict.fromkeys(NAMES, True)}, type(pipeline).__name__)
    return next((each for each in both if there[each.name]), None)
