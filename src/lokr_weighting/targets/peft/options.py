"""Which of peft's options a plan's adapters take: every one is honoured, or refused by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from peft import LoKrConfig

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.parsing import shortened
from lokr_weighting.plan.plan import Plan

HONOURED = (
    "r",
    "alpha",
    "rank_dropout",
    "rank_dropout_scale",
    "module_dropout",
    "init_weights",
    "base_model_name_or_path",
    "revision",
)
"""Fields of LoKrConfig that every adapter of a plan is given."""
PLANNED = "the plan says that for every module; make the plan otherwise"
FULL = "counts for low ranks alone, and a plan's matrices are full"
OWN = "is peft's own note"
REFUSED: Mapping[str, str] = {
    "target_modules": PLANNED,
    "exclude_modules": PLANNED,
    "layers_to_transform": PLANNED,
    "layers_pattern": PLANNED,
    "decompose_factor": PLANNED,
    "rank_pattern": PLANNED,
    "alpha_pattern": "all of a plan's modules have one scale, alpha / r",
    "decompose_both": FULL,
    "use_effective_conv2d": FULL,
    "modules_to_save": "peft keeps whole modules with one active adapter alone; a plan has more",
    "inference_mode": "adapters are made to be trained; load(model, folder) is for inference",
    "task_type": "is for language models",
    "auto_mapping": OWN,
    "peft_type": OWN,
    "peft_version": OWN,
    "adapter_name": "the adapters' names say how many belong together (lokr_1of3)",
    "mixed": "peft cannot save mixed models",
    "autocast_adapter_dtype": "peft before 0.19 gives it to the first adapter alone; cast "
    "afterwards, e.g. with diffusers' cast_training_params",
    "low_cpu_mem_usage": "leaves new matrices without numbers: it is for loading",
}
"""Options of peft's that a plan's adapters cannot have -> why."""


def checked_options(plan: Plan, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options, where a plan's adapters can have every one.

    Args:
        plan: the plan.
        options: arguments of peft's LoKrConfig.

    Raises:
        LokrWeightingError: one is refused or not known, or would make another adapter than planned;
            names it, and says why.
    """
    for name, value in options.items():
        if name in HONOURED:
            continue
        known = {field.name for field in dataclasses.fields(LoKrConfig)} | {*REFUSED}
        why = REFUSED.get(name, "no plan has been tried with it" if name in known else None)
        if why is None:
            raise LokrWeightingError(
                f"{name}: peft's LoKr has no such option; a plan's adapters take "
                f"{', '.join(HONOURED)}"
            )
        raise LokrWeightingError(f"{name} = {shortened(repr(value))}: {why}")
    if ("r" in options) != ("alpha" in options):
        name = "r" if "r" in options else "alpha"
        raise LokrWeightingError(
            f"{name} = {options[name]!r}: peft scales by alpha / r, so both are wanted; without "
            "them the scale is 1"
        )
    largest = max(
        (max(linear.split.out_k, linear.split.in_n) for linear in plan.linears), default=0
    )
    if "r" in options and 2 * options["r"] < largest:
        raise LokrWeightingError(
            f"r = {options['r']!r}: a plan's matrices are full, which peft makes them from r = "
            f"{-(-largest // 2)} on; a smaller file is a matter of the plan's budget"
        )
    return dict(options)
