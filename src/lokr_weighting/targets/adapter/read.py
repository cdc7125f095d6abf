"""An adapter's modules, found by the names in its files and read one at a time."""

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.models.weights import open_tensors
from lokr_weighting.targets.adapter.change import Change, change_of_lokr, change_of_lora
from lokr_weighting.targets.adapter.configuration import Configuration, configuration_in_header
from lokr_weighting.targets.adapter.places import TEXT_ENCODERS, Place, Places
from lokr_weighting.targets.adapter.sources import sources_of
from lokr_weighting.targets.peft.layout import PEFT_PREFIX, check_kernel
from lokr_weighting.targets.trained import (
    KINDS,
    OTHER_ALGORITHMS,
    Factors,
    check_tensors,
    finite_number,
    foreign,
    is_finite,
)

TENSORS = {kind: kind for kind in (*sorted(KINDS), "alpha")} | {
    f"{name}.weight": kind
    for kind, names in (
        ("down", ("lora_A", "lora_down", "lora.down")),
        ("up", ("lora_B", "lora_up", "lora.up")),
    )
    for name in names
}
"""What files call a module's tensors -> what they are."""
REFUSED = {
    re.compile(r"\.lora_mid\b"): "a LoRA with Tucker decomposition",
    re.compile(r"\.lora_magnitude_vector\b"): "a DoRA",
    **{called: what for called, what in OTHER_ALGORITHMS.items() if what != "a LoRA"},
}
"""What another algorithm's tensors are called -> what it is."""


@dataclass
class Module:
    """One adapted weight: where its tensors are.

    Attributes:
        place: what it changes.
        path: the file.
        opened: the same, open.
        configuration: peft's, where there is one.
        of_peft: whether it is named as peft names it, who keeps the scale in the configuration.
        keys: what a tensor is -> its key in the file.
    """

    place: Place
    path: Path
    opened: Any
    configuration: Configuration | None
    of_peft: bool
    keys: dict[str, str] = field(default_factory=dict)


class Adapter:
    """A trained adapter, its files open: only what is asked for is read; a context manager.

    Attributes:
        modules: the weights that it changes, by their Linears' names, in the order of its files.
        left_out: modules of text encoders, which are not the model's.
    """

    def __init__(self, path: Path, model: Skeleton) -> None:
        self.modules: dict[str, Module] = {}
        self.left_out: set[str] = set()
        self._places = Places(model)
        with ExitStack() as opened:
            for source in sources_of(path):
                self._add(source.file, source.configuration, opened)
            self._opened = opened.pop_all()
        if not self.modules:
            raise LokrWeightingError(f"{path}: holds no tensors of a transformer or UNet")
        self._has_alphas = any("alpha" in module.keys for module in self.modules.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def changes(self) -> Iterator[tuple[Place, Change]]:
        """What it does to each weight, with the tensors of one in memory at a time.

        Raises:
            LokrWeightingError: a module is broken or of another size than the model's; names it.
        """
        for module in self.modules.values():
            yield module.place, self._change(module)

    def _add(self, path: Path, configuration: Configuration | None, opened: ExitStack) -> None:
        """Find a file's modules."""
        file = open_tensors(path, opened)
        keys, metadata = list(file.keys()), file.metadata() or {}
        if not keys:
            raise LokrWeightingError(f"{path}: holds no tensors, so no adapter")
        configuration = configuration or configuration_in_header(metadata, path)
        in_file: dict[str, Module] = {}
        for key in keys:
            name, kind = _split(key)
            if key.startswith(TEXT_ENCODERS):
                self.left_out.add(name or key)
                continue
            if name is None or kind is None:
                raise LokrWeightingError(f"{path}: {_refusal(key)}")
            place = self._places.find(name)
            if place is None:
                raise LokrWeightingError(f"{path}: {foreign(key, self._places.model)}")
            if place.name in self.modules:
                raise LokrWeightingError(f"{path}: {place.name}: stands in two adapters")
            of_peft = name.startswith(PEFT_PREFIX)
            new = Module(place, path, file, configuration, of_peft)
            module = in_file.setdefault(place.name, new)
            if kind in module.keys:
                raise LokrWeightingError(f"{path}: {key}: {place.name} has this tensor twice")
            module.keys[kind] = key
        self.modules |= in_file

    def _change(self, module: Module) -> Change:
        where = f"{module.path}: {module.place.name}"
        tensors = {kind: _tensor(module, key) for kind, key in module.keys.items()}
        alpha = tensors.pop("alpha", None)
        number = None if alpha is None else finite_number(alpha, f"{where}: alpha")
        is_lora = bool({"down", "up"} & tensors.keys())
        kernel = module.place.shape[2:]
        if is_lora:
            _check_lora(tensors, where)
            down, up = tensors["down"], tensors["up"]
            size, rank = (up.shape[0], *down.shape[1:]), down.shape[0]
        else:
            check_tensors(tensors, where, (2 + len(kernel),))
            if module.configuration is not None:
                check_kernel(where, len(kernel))
            factors = Factors(tensors, kernel=kernel)
            size, rank = factors.size, factors.rank
        flat, wanted = ((each[0], math.prod(each[1:])) for each in (size, module.place.shape))
        if flat != wanted:
            raise LokrWeightingError(
                f"{where} is {flat} in the file and {wanted} in {self._places.model}"
            )
        scale = self._scale(module, number, rank)
        if is_lora:
            return change_of_lora(tensors["down"], tensors["up"], scale)
        return change_of_lokr(tensors, scale)

    def _scale(self, module: Module, alpha: float | None, rank: int | None) -> float:
        """What a module's product is multiplied by."""
        where = f"{module.path}: {module.place.name}"
        told = module.configuration
        if told is not None:
            made, scale = told.rank(module.place.name), told.scale(module.place.name)
            if rank is not None and made != rank:
                raise LokrWeightingError(
                    f"{where}: has rank {rank} in the file and {made} in its configuration"
                )
            if alpha is not None and not math.isclose(alpha / made, scale, rel_tol=1e-2):
                raise LokrWeightingError(
                    f"{where}: has alpha = {alpha:g} in the file and another in its header"
                )
            return scale
        if alpha is not None:
            return 1.0 if rank is None else alpha / rank
        if module.of_peft:
            raise LokrWeightingError(
                f"{where}: peft's file does not say its scale, and its adapter_config.json is not "
                "beside it; give the adapter's folder"
            )
        if self._has_alphas and rank is not None:
            raise LokrWeightingError(
                f"{where}: has no alpha where other modules have one, so its scale is not known"
            )
        return 1.0


def open_adapter(path: Path, model: Skeleton) -> Adapter:
    """Open a trained adapter.

    Args:
        path: a file of LyCORIS (SimpleTuner, ComfyUI), kohya or diffusers, a peft adapter's folder,
            or a folder of weighted peft adapters; LoKr or LoRA.
        model: the modules of the model it was trained on.

    Raises:
        LokrWeightingError: it is no adapter, of another algorithm, or of another model; names file
            and tensor.
    """
    return Adapter(path, model)


def _split(key: str) -> tuple[str | None, str | None]:
    """A tensor's module and what it is; None where it is nothing that is known."""
    for called, kind in TENSORS.items():
        if key.endswith(f".{called}"):
            return key.removesuffix(f".{called}"), kind
    return None, None


def _refusal(key: str) -> str:
    """Why a tensor is not read."""
    for called, what in REFUSED.items():
        if called.search(f".{key}"):
            return f"{key}: this is {what}; only plain LoKr and LoRA are read"
    return f"{key}: no tensor of a LoKr or a LoRA is called so; only those are read"


def _tensor(module: Module, key: str) -> Tensor:
    try:
        return module.opened.get_tensor(key)
    # what torch does of sizes and types it does not know
    except Exception as error:
        raise LokrWeightingError(f"{module.path}: {key}: cannot be read: {error}") from None


def _check_lora(tensors: dict[str, Tensor], where: str) -> None:
    """Refuse what is no whole LoRA.

    Raises:
        LokrWeightingError: a matrix is missing, is none, or does not go with the other.
    """
    strange = sorted(tensors.keys() - {"down", "up"})
    if strange:
        raise LokrWeightingError(f"{where}: has a LoRA and {strange[0]}; only one can be meant")
    for kind, names in (("down", "lora_A (lora_down)"), ("up", "lora_B (lora_up)")):
        if kind not in tensors:
            raise LokrWeightingError(f"{where}: {names} is missing")
        tensor = tensors[kind]
        if tensor.ndim < 2 or not tensor.numel() or not tensor.is_floating_point():
            raise LokrWeightingError(
                f"{where}: {names} is {tensor.dtype} of the shape {list(tensor.shape)}; a matrix "
                "of numbers is wanted"
            )
        if not is_finite(tensor):
            raise LokrWeightingError(f"{where}: {names} holds numbers that are not finite (NaN)")
    rank, other = tensors["down"].shape[0], math.prod(tensors["up"].shape[1:])
    if rank != other:
        raise LokrWeightingError(
            f"{where}: lora_A has rank {rank} and lora_B {other}: it is broken, or of a "
            "grouped convolution"
        )
