"""Whether an adapter is a plan's."""

from collections.abc import Mapping

from lokr_weighting.plan.plan import Plan
from lokr_weighting.targets.adapter.change import Change
from lokr_weighting.targets.adapter.places import Place
from lokr_weighting.targets.lora import ranks
from lokr_weighting.targets.tensors import differences_from_plan


def differences_of(plan: Plan, changes: Mapping[Place, Change]) -> list[str]:
    """Where an adapter is not the plan's, in sentences; none where it is.

    A LoKr has the plan's splits, a LoRA the ranks that stand for them. What a trainer fused is held
    against a plan of fused Linears alone: it has no split of those that it is made of.

    Args:
        plan: the plan.
        changes: what the adapter does to each weight.
    """
    planned = {linear.name for linear in plan.linears}
    fused = {place for place in changes if len(place.parts) > 1 and place.name not in planned}
    away = {name for place in fused for name, _ in place.parts}
    made = {place.name: change for place, change in changes.items() if place not in fused}
    loras = {name for name, change in made.items() if change.algorithm == "LoRA"}
    wanted = ranks(plan) if loras else {}
    found = []
    for name in loras:
        rank = made[name].tensors["down"][0]
        if name not in wanted:
            found.append(f"{name} is adapted but not planned")
        elif rank != wanted[name]:
            found.append(f"{name} is planned as a LoRA of rank {wanted[name]} and has {rank}")
    if loras and loras == made.keys():
        left = wanted.keys() - loras - away
        return sorted([*found, *(f"{name} is planned but not adapted" for name in left)])
    linears = [each for each in plan.linears if each.name not in loras | away]
    tensors = {name: dict(change.tensors) for name, change in made.items() if name not in loras}
    return found + differences_from_plan(
        plan.model_copy(update={"linears": tuple(linears)}), tensors
    )
