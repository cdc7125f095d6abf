"""The layout of weighted adapters: their configurations, names, folders and files."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from peft import LoKrConfig
from peft.tuners.lokr.layer import factorization
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from torch import Tensor

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json
from lokr_weighting.parsing import shortened
from lokr_weighting.plan.plan import Plan
from lokr_weighting.plan.splits import Split
from lokr_weighting.targets.peft.options import checked_options
from lokr_weighting.targets.replaced import NAME, replace_adapters, save_in_order
from lokr_weighting.targets.tensors import FULL_MATRIX_RANK, check_names

PEFT_PREFIX = "base_model.model."
DIFFUSERS_METADATA = "lora_adapter_metadata"
TOLD_TO_DIFFUSERS = (
    "r",
    "alpha",
    "rank_pattern",
    "alpha_pattern",
    "decompose_factor",
    "decompose_both",
)
MODULE = re.compile(r"\^?([\w-]|\\?\.|\\-)+\$?")
"""A module's name as it stands in peft's patterns, escaped or not."""
MOST = 1e30  # of a rank or alpha


def adapter_name(number: int, count: int) -> str:
    """The name of one of `count` adapters that belong together, counted from 1."""
    return f"lokr_{number}of{count}"


def configs(plan: Plan, **options: Any) -> dict[str, LoKrConfig]:
    """The adapters' configurations, by name.

    Args:
        plan: the plan.
        options: other arguments of peft's LoKrConfig, e.g. module_dropout (`HONOURED`).

    Raises:
        LokrWeightingError: an option is none that a plan's adapters can have, no factor of peft's
            makes some split of the plan, it has a convolution that peft cannot adapt, or it is for
            another trainer's names.
    """
    chosen = checked_options(plan, options)
    check_names(plan)
    for linear in plan.linears:
        check_kernel(linear.name, len(linear.kernel))
    factors = stock_factors({linear.split for linear in plan.linears})
    groups: dict[int, list[str]] = {}
    for linear in plan.linears:
        groups.setdefault(factors[linear.split], []).append(linear.name)
    count = len(groups)
    common = {"r": FULL_MATRIX_RANK, "alpha": FULL_MATRIX_RANK, "init_weights": "lycoris"}
    return {
        adapter_name(number, count): LoKrConfig(
            **common | chosen, decompose_factor=factor, target_modules=groups[factor]
        )
        for number, factor in enumerate(sorted(groups), start=1)
    }


def check_kernel(name: str, sides: int) -> None:
    """Refuse a convolution of which stock peft makes no LoKr, or another than LyCORIS.

    Args:
        name: the convolution's name.
        sides: how many sides its kernel has; 0 for a Linear.

    Raises:
        LokrWeightingError: it is a Conv1d, whose Kronecker product peft takes over the wrong axes,
            or a Conv3d, for which it has no layer.
    """
    if sides not in (0, 2):
        why = "takes the Kronecker product of its channels over the wrong axes"
        if sides != 1:
            why = "has no LoKr for it"
        raise LokrWeightingError(
            f"{name}: is a Conv{sides}d, and peft {why}; only LyCORIS (--target lycoris) adapts it"
        )


def stock_factors(splits: Iterable[Split]) -> dict[Split, int]:
    """A `decompose_factor` for each split, so that few different ones are needed.

    Raises:
        LokrWeightingError: peft makes one of the splits with none.
    """
    left = set(splits)
    candidates = [-1, *sorted({side for split in left for side in (split.out_l, split.in_m)})]
    factors: dict[Split, int] = {}
    while left:
        made = {factor: {split for split in left if _makes(factor, split)} for factor in candidates}
        best = max(candidates, key=lambda factor: len(made[factor]))
        if not made[best]:
            split = min(left)
            wider = range(2, 2 * max(split.out_l, split.in_m) + 2)
            if (found := next((x for x in wider if _makes(x, split)), None)) is not None:
                candidates.append(found)
                continue
            raise LokrWeightingError(
                f"split {split.label} of a Linear({split.in_m * split.in_n}, "
                f"{split.out_l * split.out_k}): peft makes it with no decompose_factor"
            )
        factors |= dict.fromkeys(made[best], best)
        left -= made[best]
    return factors


def _makes(factor: int, split: Split) -> bool:
    """Whether peft makes this split when asked for the factor."""
    out_features, in_features = split.out_l * split.out_k, split.in_m * split.in_n
    return split == (*factorization(out_features, factor), *factorization(in_features, factor))


def write_adapter(place: Path, config: LoKrConfig, tensors: Mapping[str, Tensor]) -> None:
    """Write one adapter as peft does, with what diffusers wants to know in the file's header.

    Args:
        place: the adapter's folder.
        config: its configuration.
        tensors: its tensors, by their names in a PeftModel.
    """
    told = {PEFT_PREFIX + key: getattr(config, key) for key in TOLD_TO_DIFFUSERS}
    told[f"{PEFT_PREFIX}target_modules"] = sorted(config.target_modules or ())
    place.mkdir(parents=True, exist_ok=True)
    save_in_order(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        place / SAFETENSORS_WEIGHTS_NAME,
        metadata={"format": "pt", DIFFUSERS_METADATA: json.dumps(told, sort_keys=True)},
    )
    config.save_pretrained(str(place))


def write_configs(plan: Plan, folder: Path, base_model: str | None = None) -> list[str]:
    """Write the adapters' `adapter_config.json`, without weights.

    Args:
        plan: the plan.
        folder: gets one folder for each adapter; adapters that are there make way.
        base_model: what the files call the model.

    Returns:
        the adapters' names.
    """
    adapters = configs(plan, base_model_name_or_path=base_model)

    def write(place: Path) -> None:
        for name, config in adapters.items():
            config.save_pretrained(str(place / name))

    replace_adapters(folder, write)
    return list(adapters)


def read_configs(folder: Path) -> dict[str, LoKrConfig]:
    """The configurations that a folder holds, by adapter.

    Raises:
        LokrWeightingError: the folder holds no weighted adapters, or not all of them, or one's
            configuration makes no sense; names the file.
    """
    configs_by_name = {}
    for name in saved_names(folder):
        file = folder / name / CONFIG_NAME
        read_json(file)
        try:
            config = LoKrConfig.from_pretrained(str(folder / name))
        # peft checks little of what it is given, and fails in any way
        except Exception as error:
            raise LokrWeightingError(
                f"{file}: is none that peft reads: {shortened(str(error) or repr(error), 300)}"
            ) from None
        if not isinstance(config, LoKrConfig):
            raise LokrWeightingError(f"{file}: is of no LoKr adapter")
        _check_numbers(config, file)
        configs_by_name[name] = config
    return configs_by_name


def _check_numbers(config: LoKrConfig, file: Path) -> None:
    """Refuse ranks and alphas that cannot be reckoned with, and patterns that could run for ever.

    Raises:
        LokrWeightingError: names file and key.
    """
    for key, pattern_key in (("r", "rank_pattern"), ("alpha", "alpha_pattern")):
        patterns = getattr(config, pattern_key) or {}
        if not isinstance(patterns, dict):
            raise LokrWeightingError(f"{file}: {pattern_key}: an object is wanted")
        for where, value in ((key, getattr(config, key)), *patterns.items()):
            good = isinstance(value, int) or (key == "alpha" and isinstance(value, float))
            if not good or isinstance(value, bool) or not -MOST < value < MOST:
                raise LokrWeightingError(
                    f"{file}: {where} = {shortened(repr(value))}: a number is wanted"
                )
            if key == "r" and value < 1:
                raise LokrWeightingError(f"{file}: {where} = {value}: a rank is at least 1")
        for pattern in patterns:
            if not MODULE.fullmatch(pattern):
                raise LokrWeightingError(
                    f"{file}: {pattern_key}: {shortened(repr(pattern))}: only the names of modules "
                    "are read, no other regular expressions"
                )


def saved_names(folder: Path) -> list[str]:
    """The names of the weighted adapters that a folder holds.

    Raises:
        LokrWeightingError: it holds none, or not all of them.
    """
    if NAME.fullmatch(folder.name) and (folder / CONFIG_NAME).is_file():
        raise LokrWeightingError(
            f"{folder}: is one of several adapters; give the folder that holds them all, "
            f"{folder.parent}"
        )
    inside = [path.parent.name for path in folder.glob(f"*/{CONFIG_NAME}")]
    return all_of([name for name in inside if NAME.fullmatch(name)], str(folder))


def all_of(names: list[str], where: str) -> list[str]:
    """The names in order, if they are all that belong together."""
    parts = {name: match for name in names if (match := NAME.fullmatch(name))}
    if not parts:
        raise LokrWeightingError(f"{where}: holds no weighted adapters (named like lokr_1of3)")
    counts = Counter(int(match["count"]) for match in parts.values())
    if len(counts) > 1:
        raise LokrWeightingError(
            f"{where}: holds adapters of different plans: {', '.join(sorted(parts))}"
        )
    (count,) = counts
    numbers = {int(match["number"]) for match in parts.values()}
    missing = [str(number) for number in range(1, count + 1) if number not in numbers]
    if missing:
        raise LokrWeightingError(
            f"{where}: of {count} adapters that belong together, number {', '.join(missing)} is "
            "missing; the model would not be what was trained"
        )
    return sorted(parts, key=lambda name: int(parts[name]["number"]))
