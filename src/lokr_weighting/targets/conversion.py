"""Between a LyCORIS file (SimpleTuner, ComfyUI) and the folder of stock peft adapters."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoKrConfig
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.plan.file_size import lycoris_key
from lokr_weighting.plan.splits import Split
from lokr_weighting.targets.peft.layout import (
    PEFT_PREFIX,
    adapter_name,
    read_configs,
    stock_factors,
    write_adapter,
)
from lokr_weighting.targets.tensors import FULL_MATRIX_RANK

KINDS = {"lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b"}


@dataclass(frozen=True)
class Factors:
    """One Linear's LoKr.

    Attributes:
        tensors: "lokr_w1" or its two factors, "lokr_w2" or its two factors.
        scale: what the product is multiplied by.
    """

    tensors: dict[str, Tensor]
    scale: float = 1.0

    @property
    def rank(self) -> int | None:
        """The rank of what is factored; None where nothing is."""
        for name in ("lokr_w2_b", "lokr_w1_b"):
            if name in self.tensors:
                return self.tensors[name].shape[0]
        return None

    @property
    def split(self) -> Split:
        """The Kronecker split."""
        (out_l, in_m), (out_k, in_n) = (_sides(self.tensors, name) for name in ("w1", "w2"))
        return Split(out_l, out_k, in_m, in_n)


def lycoris_to_peft(file: Path, model: nn.Module, folder: Path) -> list[str]:
    """Write a LyCORIS LoKr file as stock peft adapters.

    Args:
        file: a .safetensors file with LoKr modules, of any mixture of factors.
        model: the transformer it was trained on, for its modules' names; on the meta device too.
        folder: gets one folder for each adapter.

    Returns:
        the adapters' names.

    Raises:
        LokrWeightingError: the file cannot be read, holds something else than LoKr, or modules that
            the model does not have.
    """
    modules = read_lycoris(file, model)
    chosen = stock_factors({factors.split for factors in modules.values()})
    groups: dict[int, dict[str, Factors]] = {}
    for name, factors in modules.items():
        groups.setdefault(chosen[factors.split], {})[name] = factors
    names = []
    for number, (factor, group) in enumerate(sorted(groups.items()), start=1):
        ranks = {name: factors.rank or FULL_MATRIX_RANK for name, factors in group.items()}
        alphas = {name: group[name].scale * rank for name, rank in ranks.items()}
        config = LoKrConfig(
            r=FULL_MATRIX_RANK,
            alpha=FULL_MATRIX_RANK,
            rank_pattern=_anchored(ranks),
            alpha_pattern=_anchored(alphas),
            decompose_factor=factor,
            decompose_both=any("lokr_w1_a" in each.tensors for each in group.values()),
            init_weights="lycoris",
            target_modules=list(group),
        )
        names.append(adapter_name(number, len(groups)))
        tensors = {
            f"{PEFT_PREFIX}{name}.{kind}": tensor
            for name, factors in group.items()
            for kind, tensor in factors.tensors.items()
        }
        write_adapter(folder / names[-1], config, tensors)
    return names


def peft_to_lycoris(folder: Path, file: Path) -> int:
    """Write weighted peft adapters as one LyCORIS file, for SimpleTuner and ComfyUI.

    Every module has an alpha. A scale that a full matrix cannot carry goes into w1.

    Args:
        folder: the adapters' folder, with weights.
        file: the .safetensors file to write.

    Returns:
        how many modules were written.

    Raises:
        LokrWeightingError: the folder does not hold all adapters, or one has no weights.
    """
    tensors: dict[str, Tensor] = {}
    modules = read_peft(folder)
    for name, factors in modules.items():
        key = lycoris_key(name)
        own = dict(factors.tensors)
        rank = factors.rank
        if rank is None and factors.scale != 1.0:
            own["lokr_w1"] = own["lokr_w1"] * factors.scale
        alpha = FULL_MATRIX_RANK if rank is None else factors.scale * rank
        tensors |= {f"{key}.{kind}": tensor.contiguous() for kind, tensor in own.items()}
        tensors[f"{key}.alpha"] = torch.tensor(float(alpha))
    settings = {"algo": "lokr", "full_matrix": all(each.rank is None for each in modules.values())}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, metadata={"lycoris_config": json.dumps(settings)})
    return len(modules)


def read_lycoris(file: Path, model: nn.Module) -> dict[str, Factors]:
    """A LyCORIS file's modules, by their names in the model.

    Raises:
        LokrWeightingError: as `lycoris_to_peft`.
    """
    linears = {
        lycoris_key(name): (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    in_file: dict[str, dict[str, Tensor]] = {}
    for key, tensor in _load(file).items():
        module, _, kind = key.rpartition(".")
        if module not in linears:
            raise LokrWeightingError(
                f"{file}: {key}: {type(model).__name__} has no such Linear; is this another "
                "model's file?"
            )
        if kind not in KINDS | {"alpha"}:
            raise LokrWeightingError(
                f"{file}: {key}: only plain LoKr can be converted (no DoRA, LoHa, LoRA or Tucker)"
            )
        in_file.setdefault(module, {})[kind] = tensor
    modules = {}
    for key, tensors in in_file.items():
        name, linear = linears[key]
        alpha = tensors.pop("alpha", None)
        factors = Factors(tensors)
        if factors.rank is not None and alpha is not None:
            factors = Factors(tensors, scale=float(alpha) / factors.rank)
        modules[name] = factors
        split = factors.split
        size = (split.out_l * split.out_k, split.in_m * split.in_n)
        if size != (linear.out_features, linear.in_features):
            raise LokrWeightingError(
                f"{file}: {name} is {size} in the file and "
                f"{(linear.out_features, linear.in_features)} in {type(model).__name__}"
            )
    return modules


def read_peft(folder: Path) -> dict[str, Factors]:
    """The modules of weighted peft adapters, by their names in the model.

    Raises:
        LokrWeightingError: as `peft_to_lycoris`.
    """
    modules: dict[str, dict[str, Tensor]] = {}
    scales: dict[str, float] = {}
    for adapter, config in read_configs(folder).items():
        for key, tensor in _load(folder / adapter / SAFETENSORS_WEIGHTS_NAME).items():
            name, _, kind = key.removeprefix(PEFT_PREFIX).rpartition(".")
            modules.setdefault(name, {})[kind] = tensor
            scales[name] = _pattern(config.alpha_pattern, name, config.alpha) / _pattern(
                config.rank_pattern, name, config.r
            )
    return {name: Factors(tensors, scales[name]) for name, tensors in modules.items()}


def _load(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise LokrWeightingError(f"{file}: there is no such file")
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise LokrWeightingError(f"{file}: is no safetensors file: {error}") from None


def _sides(tensors: dict[str, Tensor], which: str) -> tuple[int, int]:
    """(out, in) of w1 or w2, factored or not."""
    if f"lokr_{which}" in tensors:
        out_side, in_side = tensors[f"lokr_{which}"].shape
        return out_side, in_side
    return tensors[f"lokr_{which}_a"].shape[0], tensors[f"lokr_{which}_b"].shape[1]


def _anchored(values: dict[str, Any]) -> dict[str, Any]:
    """A peft pattern for each module's own value, where it is not the full matrix's."""
    return {
        f"^{re.escape(name)}": value
        for name, value in values.items()
        if not math.isclose(value, FULL_MATRIX_RANK)
    }


def _pattern(patterns: dict[str, Any] | None, name: str, default: float) -> float:
    """A module's value, as peft finds it."""
    by_pattern = patterns or {}
    return by_pattern.get(get_pattern_key(list(by_pattern), name), default)
