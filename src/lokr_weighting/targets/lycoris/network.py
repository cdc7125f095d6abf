"""The network that LyCORIS really makes of a configuration, built without memory."""

import gc
import importlib.util
import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.targets.lycoris.config import LycorisConfig, Preset
from lokr_weighting.targets.tensors import Tensors

MOST_BLOCKS = 1024
"""Pairs of tensors that DyLoRA may make of one module."""


@dataclass(frozen=True)
class Network:
    """What LyCORIS made of a configuration.

    Attributes:
        tensors: the adapted module's full name -> its tensors.
        said: what LyCORIS printed meanwhile, each line once.
    """

    tensors: dict[str, Tensors]
    said: tuple[str, ...] = ()


def network_tensors(transformer: nn.Module, config: LycorisConfig) -> dict[str, Tensors]:
    """As `build_network`: the tensors alone."""
    return build_network(transformer, config).tensors


def build_network(transformer: nn.Module, config: LycorisConfig) -> Network:
    """Build the LyCORIS network and list what it trains.

    LyCORIS keeps presets as class-level state; the network is built by a private copy of its
    module, so the state other code sees is neither used nor changed.

    Args:
        transformer: the model, on the meta device or real; it is not changed.
        config: the configuration, as a trainer would hand it over.

    Raises:
        LokrWeightingError: LyCORIS refuses the configuration; with its own reason.
    """
    _check_sizes(config)
    arguments = config.written()
    preset = arguments.pop("apply_preset", None)
    multiplier = arguments.pop("multiplier", 1.0)
    dim, alpha = arguments.pop("linear_dim", 4), arguments.pop("linear_alpha", 1)
    with building() as printed:
        lycoris = private_copy("wrapper")
        try:
            if preset:
                lycoris.LycorisNetwork.apply_preset(preset)
            network = lycoris.create_lycoris(transformer, multiplier, dim, alpha, **arguments)
        except Exception as error:  # whatever goes wrong in there, a trainer would meet it too
            raise LokrWeightingError(
                f"LyCORIS refuses this configuration: {_reason(error, arguments)}"
            ) from error
        said = dict.fromkeys(line.strip() for line in printed.getvalue().splitlines())
        return Network(adapted_tensors(network, transformer), tuple(line for line in said if line))


def _check_sizes(config: LycorisConfig) -> None:
    """DyLoRA makes two tensors of every block of ranks, in every module.

    Raises:
        LokrWeightingError: there are so many that neither this nor a trainer would end.
    """
    preset = config.apply_preset or Preset()
    entries = [*preset.name_algo_map.values(), *preset.module_algo_map.values()]
    written = config.written()
    if "dylora" not in {config.algo.lower(), *(str(entry.get("algo")) for entry in entries)}:
        return
    own = [written.get("linear_dim"), written.get("conv_dim"), written.get("block_size")]
    sizes = [own, *([entry.get("dim"), None, entry.get("block_size")] for entry in entries)]
    dim = max((x for row in sizes for x in row[:2] if isinstance(x, int)), default=1)
    block = min((row[2] for row in sizes if isinstance(row[2], int) and row[2] > 0), default=4)
    if dim // block > MOST_BLOCKS:
        raise LokrWeightingError(
            f"DyLoRA with {dim:,} ranks in blocks of {block} makes {dim // block:,} pairs of "
            f"tensors of every module; at most {MOST_BLOCKS:,} are built here. Write a smaller "
            "linear_dim or a larger block_size"
        )


def _reason(error: Exception, arguments: Mapping[str, Any]) -> str:
    """What LyCORIS objects to; of a preset it says nothing."""
    if isinstance(error, AssertionError) and not str(error) and "preset" in arguments:
        return (
            f"preset = {arguments['preset']!r} is none of its presets, and no file of one that can "
            "be read"
        )
    return " ".join(f"{type(error).__name__}: {error}".split())


def adapted_tensors(network: Any, transformer: nn.Module) -> dict[str, Tensors]:
    """What a LyCORIS network adapts: the module's full name -> its tensors.

    Those that its file holds, and those that are only trained: a scalar is multiplied into another
    tensor when it is saved.
    """
    names = {id(module): name for name, module in transformer.named_modules()}
    return {names[id(lora.org_module[0])]: _tensors_of(lora) for lora in network.loras}


def _tensors_of(lora: nn.Module) -> Tensors:
    tensors = {name: tuple(tensor.shape) for name, tensor in lora.state_dict().items()}
    scalar = getattr(lora, "scalar", None)
    return tensors | ({"scalar": ()} if isinstance(scalar, nn.Parameter) else {})


@contextmanager
def building() -> Iterator[io.StringIO]:
    """LyCORIS builds in here without memory and without a word; what it prints is kept."""
    printed = io.StringIO()
    with (
        _quiet_lycoris(),
        redirect_stdout(printed),
        _nothing_to_collect(),
        torch.device("meta"),
        _StayOnMeta(),
    ):
        yield printed


def private_copy(name: str) -> ModuleType:
    """A module of LyCORIS, executed once more under another name: its classes' state is fresh.

    Args:
        name: "wrapper", or "kohya" for the one that sd-scripts uses.
    """
    original = importlib.util.find_spec(f"lycoris.{name}")
    assert original is not None
    assert original.origin is not None
    spec = importlib.util.spec_from_file_location(
        f"lycoris._{name}_for_reading_back", original.origin
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _quiet_lycoris() -> Iterator[None]:
    """LyCORIS logs a dozen lines for every network; keep them to itself meanwhile."""
    import lycoris.logging  # noqa: F401 (its first import sets the level that is changed here)

    logger = logging.getLogger("LyCORIS")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """T-LoRA looks through all objects for garbage at every module; leave it the new ones alone."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _StayOnMeta(TorchFunctionMode):
    """Hands out shapes where LyCORIS reads weights, and its own numbers where it reckons with them.

    DoRA and full modules copy weights to the CPU; LoKr multiplies a kernel's sides as a tensor.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.Tensor.cpu:
            return args[0].to("meta")
        if func is torch.tensor:
            return func(*args, **{"device": "cpu", **(kwargs or {})})
        return func(*args, **(kwargs or {}))
