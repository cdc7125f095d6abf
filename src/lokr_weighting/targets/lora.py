"""The plan for trainers that only know LoRA: one stock configuration, a rank for each Linear."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from peft import LoraConfig

from lokr_weighting.plan.plan import LinearPlan, Plan
from lokr_weighting.targets.replaced import replace_adapters
from lokr_weighting.targets.tensors import check_names


def lora_config(plan: Plan, base_model: str | None = None) -> LoraConfig:
    """One LoRA with the plan's parameters at the plan's places.

    alpha is each Linear's rank, so that every scale is 1. What is in `left_out` is not adapted.

    Args:
        plan: the plan.
        base_model: what the file calls the model.

    Raises:
        LokrWeightingError: the plan is for a trainer's own names.
    """
    check_names(plan)
    rank_of = ranks(plan)
    common = Counter(rank_of.values()).most_common(1)[0][0]
    patterns = {f"^{re.escape(name)}": rank for name, rank in rank_of.items() if rank != common}
    return LoraConfig(
        r=common,
        lora_alpha=common,
        rank_pattern=patterns,
        alpha_pattern=dict(patterns),
        target_modules=list(rank_of),
        base_model_name_or_path=base_model,
    )


def ranks(plan: Plan) -> dict[str, int]:
    """Each Linear's rank: as many parameters as its LoKr has, as nearly as ranks allow.

    What rounding leaves of the plan's parameters goes to the Linears that were cut most. Rank 1 is
    always possible: a LoKr with w1 no larger than the Linear's smaller side never has fewer
    parameters than in + out.
    """
    adapted = [linear for linear in plan.linears if linear.groups == 1]
    wanted = {linear: linear.parameters / _cost(linear) for linear in adapted}
    given = {linear: int(rank) for linear, rank in wanted.items()}
    left = sum(linear.parameters for linear in adapted) - sum(
        rank * _cost(linear) for linear, rank in given.items()
    )
    for linear in sorted(given, key=lambda linear: given[linear] - wanted[linear]):
        if given[linear] < wanted[linear] and _cost(linear) <= left:
            given[linear] += 1
            left -= _cost(linear)
    return {linear.name: rank for linear, rank in given.items()}


def left_out(plan: Plan) -> Sequence[LinearPlan]:
    """The grouped convolutions: peft wants a rank that their groups divide, so often a full one."""
    return [linear for linear in plan.linears if linear.groups > 1]


def write_lora_config(plan: Plan, folder: Path, base_model: str | None = None) -> None:
    """Write the `adapter_config.json`, without weights; adapters that are there make way."""
    config = lora_config(plan, base_model)
    replace_adapters(folder, lambda place: config.save_pretrained(str(place)))


def _cost(linear: LinearPlan) -> int:
    """Parameters of one rank: LoRA's first convolution has the kernel, its second none."""
    return linear.in_features * math.prod(linear.kernel) + linear.out_features
