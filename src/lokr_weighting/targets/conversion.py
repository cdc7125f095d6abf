"""Between a LyCORIS file (SimpleTuner, ComfyUI) and the folder of stock peft adapters."""

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from peft import LoKrConfig
from safetensors.torch import save_file
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.plan.file_size import lycoris_key
from lokr_weighting.targets.peft.layout import (
    PEFT_PREFIX,
    adapter_name,
    check_kernel,
    stock_factors,
    write_adapter,
)
from lokr_weighting.targets.replaced import replace_adapters, replace_file
from lokr_weighting.targets.tensors import FULL_MATRIX_RANK
from lokr_weighting.targets.trained import Factors, read_lycoris, read_peft

WITHOUT_LYCORIS_NAMES = ("joint_transformer_blocks.",)
"""How a module's name begins in AuraFlow, whose LyCORIS names ComfyUI a125cd84 does not know."""
DIFFUSERS_PREFIX = "transformer."
"""What stands before a module's name in the names that it knows of every such model."""


def lycoris_to_peft(
    file: Path, model: nn.Module, folder: Path, *, replace: bool = True
) -> list[str]:
    """Write a LyCORIS LoKr file as stock peft adapters.

    Args:
        file: a .safetensors file with LoKr modules, of any mixture of factors.
        model: the transformer it was trained on, for its modules' names; on the meta device too.
        folder: gets one folder for each adapter; adapters that are there make way.
        replace: whether something else may be there already.

    Returns:
        the adapters' names.

    Raises:
        LokrWeightingError: the file cannot be read, is broken, holds something else than LoKr, or
            modules that the model does not have; or something else is there.
        OutputError: no folder can be written there.
    """
    modules = read_lycoris(file, model)
    for name, factors in modules.items():
        check_kernel(f"{file}: {name}", len(factors.kernel))
    try:
        chosen = stock_factors({factors.split for factors in modules.values()})
    except LokrWeightingError as error:
        raise LokrWeightingError(
            f"{file}: {error} (was it trained with unbalanced_factorization?)"
        ) from None
    groups: dict[int, dict[str, Factors]] = {}
    for name, factors in modules.items():
        groups.setdefault(chosen[factors.split], {})[name] = factors
    adapters: dict[str, tuple[LoKrConfig, dict[str, Tensor]]] = {}
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
        tensors = {
            f"{PEFT_PREFIX}{name}.{kind}": tensor
            for name, factors in group.items()
            for kind, tensor in factors.tensors.items()
        }
        adapters[adapter_name(number, len(groups))] = config, tensors

    def write(place: Path) -> None:
        for name, (config, tensors) in adapters.items():
            write_adapter(place / name, config, tensors)

    replace_adapters(folder, write, replace=replace)
    return list(adapters)


def peft_to_lycoris(
    folder: Path, file: Path, *, comfyui: bool = False, replace: bool = True
) -> int:
    """Write weighted peft adapters as one LyCORIS file, for SimpleTuner and ComfyUI.

    Every module has an alpha. A scale that a full matrix cannot carry goes into w1.

    Args:
        folder: the adapters' folder, with weights.
        file: the .safetensors file to write.
        comfyui: name the modules as ComfyUI does where it does not know LyCORIS's names
            (`WITHOUT_LYCORIS_NAMES`).
        replace: whether something else may be there already.

    Returns:
        how many modules were written.

    Raises:
        LokrWeightingError: the folder does not hold all adapters, or one is broken or has no
            weights; or something else is there.
        OutputError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    modules = read_peft(folder)
    dotted = comfyui and any(name.startswith(WITHOUT_LYCORIS_NAMES) for name in modules)
    for name, factors in modules.items():
        key = f"{DIFFUSERS_PREFIX}{name}" if dotted else lycoris_key(name)
        own = dict(factors.tensors)
        rank = factors.rank
        if rank is None and factors.scale != 1.0:
            own["lokr_w1"] = own["lokr_w1"] * factors.scale
        alpha = FULL_MATRIX_RANK if rank is None else factors.scale * rank
        tensors |= {f"{key}.{kind}": tensor.contiguous() for kind, tensor in own.items()}
        tensors[f"{key}.alpha"] = torch.tensor(float(alpha))
    settings = {"algo": "lokr", "full_matrix": all(each.rank is None for each in modules.values())}
    metadata = {"lycoris_config": json.dumps(settings)}
    replace_file(file, lambda place: save_file(tensors, place, metadata), replace=replace)
    return len(modules)


def _anchored(values: dict[str, Any]) -> dict[str, Any]:
    """A peft pattern for each module's own value, where it is not the full matrix's."""
    return {
        f"^{re.escape(name)}": value
        for name, value in values.items()
        if not math.isclose(value, FULL_MATRIX_RANK)
    }
