"""A trained LoKr's tensors, read from a LyCORIS file or from peft adapters, and checked."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft.utils import SAFETENSORS_WEIGHTS_NAME
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import shape_of
from lokr_weighting.models.skeleton import skeleton_of
from lokr_weighting.plan.splits import Split
from lokr_weighting.targets.peft.layout import PEFT_PREFIX, check_kernel, read_configs

HALVES = (("lokr_w1", "lokr_w1_a", "lokr_w1_b"), ("lokr_w2", "lokr_w2_a", "lokr_w2_b"))
"""A matrix, or its two factors."""
KINDS = {kind for half in HALVES for kind in half}
PREFIXES = (
    "lycoris_",
    "lora_unet_",
    "lora_transformer_",
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "",
)
"""What trainers write before a module's name."""
OTHER_ALGORITHMS = {
    re.compile(r"\.lora[._](up|down|mid|A|B)\b"): "a LoRA",
    re.compile(r"\.hada_"): "a LoHa",
    re.compile(r"\.oft_(blocks|diag)"): "an OFT",
    re.compile(r"\.(lambda_layer|[pq]_layer\.)"): "a T-LoRA",
    re.compile(r"\.[ab][12]\.weight$"): "a GLoRA",
    re.compile(r"\.diff(_b)?$"): "full weights",
    re.compile(r"\.[wb]_norm$"): "trained norms",
    re.compile(r"\.dora_scale$"): "a DoRA",
    re.compile(r"\.lokr_t[12]$"): "a LoKr with Tucker decomposition",
}
"""What another algorithm's tensors are called -> what it is; a LoRA may have DoRA's scales too."""


@dataclass(frozen=True)
class Factors:
    """One Linear's or convolution's LoKr.

    Attributes:
        tensors: "lokr_w1" or its two factors, "lokr_w2" or its two factors.
        scale: what the product is multiplied by.
        kernel: a convolution's kernel, where the model is known; () for a Linear.
    """

    tensors: dict[str, Tensor]
    scale: float = 1.0
    kernel: tuple[int, ...] = ()

    @property
    def rank(self) -> int | None:
        """The rank of what is factored; None where nothing is."""
        for name in ("lokr_w2_b", "lokr_w1_b"):
            if name in self.tensors:
                return self.tensors[name].shape[0]
        return None

    @property
    def size(self) -> tuple[int, ...]:
        """The shape of what the two make together; a factored w2 tells of no kernel."""
        (out_l, in_m), (out_k, in_n) = (_sides(self.tensors, name) for name in ("w1", "w2"))
        kernel = self.tensors["lokr_w2"].shape[2:] if "lokr_w2" in self.tensors else ()
        return out_l * out_k, in_m * in_n, *kernel

    @property
    def split(self) -> Split:
        """The Kronecker split."""
        (out_l, in_m), (out_k, in_n) = (_sides(self.tensors, name) for name in ("w1", "w2"))
        if "lokr_w2" not in self.tensors:
            in_n //= math.prod(self.kernel)
        return Split(out_l, out_k, in_m, in_n)


def read_lycoris(file: Path, model: nn.Module) -> dict[str, Factors]:
    """A LyCORIS file's modules, by their names in the model.

    The names may stand behind any of `PREFIXES`, with dots or underscores.

    Raises:
        LokrWeightingError: the file cannot be read, is broken, holds something else than LoKr, or
            modules that the model does not have; names the tensor.
    """
    shapes = {
        name: shape
        for name, each in skeleton_of(model).named_modules()
        if (shape := shape_of(each)) is not None
    }
    by_key = {name.replace(".", "_"): name for name in shapes}
    in_file: dict[str, dict[str, Tensor]] = {}
    loaded = _load(file)
    _check_kinds(loaded, file)
    for key, tensor in loaded.items():
        module, _, kind = key.rpartition(".")
        name = name_of(module, by_key)
        if name is None:
            raise LokrWeightingError(f"{file}: {foreign(key, type(model).__name__)}")
        if kind in in_file.setdefault(name, {}):
            raise LokrWeightingError(f"{file}: {key}: {name} has this tensor twice")
        in_file[name][kind] = tensor
    modules = {}
    for name, tensors in in_file.items():
        where = f"{file}: {name}"
        alpha = tensors.pop("alpha", None)
        kernel = shapes[name][2:]
        check_tensors(tensors, where, (2 + len(kernel),))
        factors = Factors(tensors, kernel=kernel)
        if alpha is not None:
            scale = finite_number(alpha, f"{where}: alpha")
            if factors.rank is not None:
                factors = Factors(tensors, scale / factors.rank, kernel)
        modules[name] = factors
        size, wanted = factors.size, shapes[name]
        if len(size) < len(wanted):  # a factored w2 holds the kernel in its columns
            wanted = (wanted[0], math.prod(wanted[1:]))
        if size != wanted:
            raise LokrWeightingError(
                f"{where} is {size} in the file and {wanted} in {type(model).__name__}"
            )
    return modules


def read_peft(folder: Path) -> dict[str, Factors]:
    """The modules of weighted peft adapters, by their names in the model.

    Raises:
        LokrWeightingError: the folder does not hold all adapters, or one is broken or has no
            weights; names the tensor.
    """
    modules: dict[str, Factors] = {}
    for adapter, config in read_configs(folder).items():
        file = folder / adapter / SAFETENSORS_WEIGHTS_NAME
        in_file: dict[str, dict[str, Tensor]] = {}
        loaded = _load(file)
        _check_kinds(loaded, file)
        for key, tensor in loaded.items():
            name, _, kind = key.removeprefix(PEFT_PREFIX).rpartition(".")
            in_file.setdefault(name, {})[kind] = tensor
        for name, tensors in in_file.items():
            check_tensors(tensors, f"{file}: {name}", (2, 3, 4))
            if "lokr_w2" in tensors:
                check_kernel(f"{file}: {name}", tensors["lokr_w2"].ndim - 2)
            if name in modules:
                raise LokrWeightingError(f"{file}: {name}: stands in two adapters")
            alpha, rank = (
                value_of_pattern(patterns, name, default)
                for patterns, default in (
                    (config.alpha_pattern, config.alpha),
                    (config.rank_pattern, config.r),
                )
            )
            modules[name] = Factors(tensors, alpha / rank)
    return modules


def check_tensors(tensors: Mapping[str, Tensor], where: str, sides: Sequence[int] = (2,)) -> None:
    """Refuse what is no whole LoKr.

    Args:
        tensors: one module's, by kind, without alpha.
        where: the file and the module, for the message.
        sides: how many sides w2 may have: more than two where it holds a convolution's kernel.

    Raises:
        LokrWeightingError: a matrix is missing, there in both forms, has not two sides, another
            rank than its partner, or holds something else than finite numbers.
    """
    for whole, first, second in HALVES:
        parts = [kind for kind in (first, second) if kind in tensors]
        if whole in tensors and parts:
            raise LokrWeightingError(
                f"{where}: has {whole} and {' and '.join(parts)}; only one of them can be meant"
            )
        if whole not in tensors and len(parts) < 2:
            missing = whole if not parts else second if parts == [first] else first
            raise LokrWeightingError(f"{where}: {missing} is missing")
    for kind, tensor in tensors.items():
        allowed = sides if kind == "lokr_w2" else (2,)
        if tensor.ndim not in allowed or not tensor.numel():
            what = "the matrix of a Linear has two sides"
            if allowed != (2,):
                what = f"that of a convolution has {' or '.join(map(str, allowed))} sides"
            raise LokrWeightingError(f"{where}: {kind} has the shape {list(tensor.shape)}; {what}")
        if not tensor.is_floating_point():
            raise LokrWeightingError(f"{where}: {kind} is {tensor.dtype}, which no weight is")
        if not is_finite(tensor):
            raise LokrWeightingError(f"{where}: {kind} holds numbers that are not finite (NaN)")
    ranks = {
        kind: tensor.shape[1 if kind.endswith("_a") else 0]
        for kind, tensor in tensors.items()
        if kind.endswith(("_a", "_b"))
    }
    if len(set(ranks.values())) > 1:
        listed = ", ".join(f"{kind} {rank}" for kind, rank in ranks.items())
        raise LokrWeightingError(f"{where}: ranks do not match: {listed}")


def is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are finite; those of packed types cannot be read and are not."""
    try:
        return bool(tensor.float().isfinite().all())
    except (RuntimeError, TypeError):
        return False


def name_of(module: str, by_key: Mapping[str, str]) -> str | None:
    """The Linear that a file's name for a module means."""
    for prefix in PREFIXES:
        if module.startswith(prefix):
            name = by_key.get(module.removeprefix(prefix).replace(".", "_"))
            if name is not None:
                return name
    return None


def _check_kinds(keys: Iterable[str], where: Path) -> None:
    """Refuse a file of another algorithm, by its most telling tensor.

    Raises:
        LokrWeightingError: says which algorithm's file it is.
    """
    others = [key for key in keys if key.rpartition(".")[2] not in KINDS | {"alpha"}]
    for called, what in OTHER_ALGORITHMS.items():
        for key in others:
            if called.search(f".{key}"):
                as_it_is = "; peft and diffusers load it as it is" if what == "a LoRA" else ""
                raise LokrWeightingError(
                    f"{where}: {key}: this is {what}; only plain LoKr can be converted{as_it_is}"
                )
    for key in others:
        raise LokrWeightingError(
            f"{where}: {key}: no tensor of a LoKr is called so; only plain LoKr can be converted"
        )


def foreign(key: str, model: str) -> str:
    """Why a module is none of the model's."""
    known = ", ".join(prefix for prefix in PREFIXES if prefix)
    return (
        f"{key}: {model} has no such Linear; is this another model's file? Modules are looked for "
        f"by diffusers' names, bare or behind {known}"
    )


def finite_number(alpha: Tensor, where: str) -> float:
    """An alpha's number, refused where it is none."""
    if alpha.numel() != 1:
        raise LokrWeightingError(f"{where} has {alpha.numel()} numbers; one is wanted")
    real = alpha.is_floating_point() or (alpha.dtype.is_signed and not alpha.is_complex())
    if not real or not is_finite(alpha):
        raise LokrWeightingError(f"{where} = {alpha.item()}: is no finite number")
    return float(alpha)


def _load(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise LokrWeightingError(f"{file}: there is no such file")
    try:
        tensors = load_file(file)
    # besides its own error the library raises what torch does of sizes and types it does not know
    except Exception as error:
        raise LokrWeightingError(f"{file}: is no safetensors file: {error}") from None
    if not tensors:
        raise LokrWeightingError(f"{file}: holds no tensors, so no LoKr")
    return tensors


def _sides(tensors: Mapping[str, Tensor], which: str) -> tuple[int, int]:
    """(out, in) of w1 or w2, factored or not."""
    if f"lokr_{which}" in tensors:
        out_side, in_side = tensors[f"lokr_{which}"].shape[:2]
        return out_side, in_side
    return tensors[f"lokr_{which}_a"].shape[0], tensors[f"lokr_{which}_b"].shape[1]


def value_of_pattern(patterns: dict[str, Any] | None, name: str, default: float) -> float:
    """A module's value, as peft finds it."""
    by_pattern = patterns or {}
    return by_pattern.get(get_pattern_key(list(by_pattern), name), default)
