"""The tensors that an adapter makes of a module: counted, named, held against a plan."""

import math
from collections.abc import Mapping

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.plan.plan import Plan
from lokr_weighting.plan.splits import Split

FULL_MATRIX_RANK = 1_000_000
"""With this rank LyCORIS and peft never factor w2; with alpha the same, LoKr's scale is 1."""

Tensors = dict[str, tuple[int, ...]]
"""A module's tensors: name ("lokr_w1") -> shape."""


def parameters(tensors: Tensors | None) -> int:
    """Trainable parameters among a module's tensors: all but the constant `alpha`."""
    return sum(math.prod(shape) for name, shape in (tensors or {}).items() if name != "alpha")


def label_of(tensors: Tensors | None) -> str:
    """A short name for a module's tensors: its split for a full LoKr, else their shapes."""
    if not tensors:
        return "none"
    if "lokr_w1" in tensors and len(tensors.get("lokr_w2", ())) >= 2:
        (out_l, in_m), (out_k, in_n, *_) = tensors["lokr_w1"], tensors["lokr_w2"]
        return Split(out_l, out_k, in_m, in_n).label
    return ", ".join(f"{name} {list(shape)}" for name, shape in tensors.items() if shape)


def check_names(plan: Plan) -> None:
    """Refuse a plan for a trainer whose model has other names than diffusers'.

    Raises:
        LokrWeightingError: it is one.
    """
    if plan.has_own_names:
        raise LokrWeightingError(
            f"this plan is for a trainer whose model joins Linears ({plan.linears[0].name}, ...), "
            "so this format would adapt nothing; make a plan without --target kohya"
        )


def differences_from_plan(plan: Plan, made: Mapping[str, Tensors | None]) -> list[str]:
    """Where a network is not the plan's: one sentence for each Linear; empty when it is.

    Args:
        plan: the plan.
        made: the tensors of every module that the network adapts (`Readback.made`,
            `adapted_tensors`).
    """
    planned = {linear.name: linear for linear in plan.linears}
    differences = [f"{name} is adapted but not planned" for name in made if name not in planned]
    for name, linear in planned.items():
        tensors = made.get(name)
        if not tensors:
            differences.append(f"{name} is planned but not adapted")
        elif (tensors.get("lokr_w1"), tensors.get("lokr_w2")) != linear.shapes:
            differences.append(
                f"{name} is planned as {linear.split.label} but becomes {label_of(tensors)}"
            )
        elif parameters(tensors) != linear.parameters:
            differences.append(
                f"{name} is planned with {linear.parameters:,} parameters but has "
                f"{parameters(tensors):,}"
            )
    return differences
