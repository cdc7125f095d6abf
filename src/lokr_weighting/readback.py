"""The read-back: whether a configuration makes LyCORIS train what it says."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from lokr_weighting.plan import Plan
from lokr_weighting.splits import Split
from lokr_weighting.targets.lycoris import LycorisConfig, Preset
from lokr_weighting.targets.lycoris_claims import Effects, claim_of
from lokr_weighting.targets.lycoris_network import Tensors, network_tensors

Status = Literal["exact", "wrong", "missing", "unasked"]
IGNORED_IN_ENTRIES = ("linear_dim", "linear_alpha")


@dataclass(frozen=True)
class ModuleResult:
    """One module: what was asked of it and what it got.

    Attributes:
        name: full name in the model.
        status: "exact"; "wrong": adapted with other tensors; "missing": asked for but not
            adapted; "unasked": adapted though nothing names it.
        source: the pattern or class that asks, None if nothing does.
        factor: the factor that is asked for, where the algorithm has one.
        asked: the tensors asked for, None if nothing is.
        made: the tensors LyCORIS makes, None if it makes none.
    """

    name: str
    status: Status
    source: str | None
    factor: int | None
    asked: Tensors | None
    made: Tensors | None


@dataclass(frozen=True)
class Readback:
    """The whole comparison.

    Attributes:
        modules: every module that is asked for or adapted.
        faults: parts of the configuration that have no effect, or not the one they name -> why.
        notes: what is worth knowing and changes nothing.
    """

    modules: tuple[ModuleResult, ...]
    faults: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many modules have each status."""
        found = Counter(module.status for module in self.modules)
        return {status: found[status] for status in get_args(Status)}

    @property
    def exact(self) -> bool:
        """Whether every module got what was asked, and every pattern has an effect."""
        return 0 < len(self.modules) == self.counts["exact"] and not self.faults

    @property
    def made(self) -> dict[str, Tensors]:
        """The tensors of every module that LyCORIS adapts."""
        return {module.name: module.made for module in self.modules if module.made}

    @property
    def asked_parameters(self) -> int:
        """Trainable parameters that the configuration asks for."""
        return sum(parameters(module.asked) for module in self.modules)

    @property
    def made_parameters(self) -> int:
        """Trainable parameters that LyCORIS makes."""
        return sum(parameters(module.made) for module in self.modules)


def parameters(tensors: Tensors | None) -> int:
    """Trainable parameters among a module's tensors: all but the constant `alpha`."""
    return sum(math.prod(shape) for name, shape in (tensors or {}).items() if name != "alpha")


def read_back(transformer: nn.Module, config: LycorisConfig) -> Readback:
    """Build the real network and compare every module with what the configuration asks for.

    What would be exact is found by asking LyCORIS for each module alone.

    Args:
        transformer: the model; on the meta device it takes no memory. It is not changed.
        config: any LyCORIS configuration.

    Raises:
        LokrWeightingError: LyCORIS refuses the configuration.
    """
    preset = config.apply_preset or Preset()
    made = network_tensors(transformer, config)
    alone = _Alone(config)
    effects = Effects()
    results = []
    for name, module, classes in _walk(transformer):
        claim = claim_of(name, classes, preset)
        asked = None if claim is None else alone.tensors(module, claim.entry)
        got = made.get(name)
        if asked is None and got is None:
            continue
        source = factor = None
        if claim is not None and asked is not None:
            effects.add(claim)
            source = claim.source
            factor = claim.entry.get("factor", config.written().get("factor"))
        status = _status(asked, got)
        results.append(ModuleResult(name, status, source, factor, asked, got))
    return Readback(tuple(results), effects.faults(preset), tuple(_notes(preset)))


def differences_from_plan(plan: Plan, made: Mapping[str, Tensors | None]) -> list[str]:
    """Where a network is not the plan's: one sentence for each Linear; empty when it is.

    Args:
        plan: the plan.
        made: the tensors of every module that the network adapts (`Readback.made`,
            `adapted_tensors`).
    """
    planned = {linear.name: linear.split for linear in plan.linears}
    found = [f"{name} is adapted but not planned" for name in made if name not in planned]
    for name, split in planned.items():
        tensors = made.get(name)
        if not tensors:
            found.append(f"{name} is planned but not adapted")
        elif (tensors.get("lokr_w1"), tensors.get("lokr_w2")) != split.shapes:
            found.append(f"{name} is planned as {split.label} but becomes {label_of(tensors)}")
    return found


def label_of(tensors: Tensors | None) -> str:
    """A short name for a module's tensors: its split for a full LoKr, else their shapes."""
    if not tensors:
        return "none"
    if "lokr_w1" in tensors and "lokr_w2" in tensors and len(tensors["lokr_w2"]) == 2:
        (out_l, in_m), (out_k, in_n) = tensors["lokr_w1"], tensors["lokr_w2"]
        return Split(out_l, out_k, in_m, in_n).label
    return ", ".join(f"{name} {list(shape)}" for name, shape in tensors.items() if shape)


def _status(asked: Tensors | None, made: Tensors | None) -> Status:
    if asked is None:
        return "unasked"
    if made is None:
        return "missing"
    return "exact" if asked == made else "wrong"


def _walk(transformer: nn.Module) -> list[tuple[str, nn.Module, list[str]]]:
    """Every module with its class and those of the modules around it, innermost first."""
    modules = dict(transformer.named_modules())
    found = []
    for name, module in modules.items():
        if name:
            parts = name.split(".")
            around = (modules[".".join(parts[:end])] for end in range(len(parts), 0, -1))
            found.append((name, module, [type(each).__name__ for each in around]))
    return found


class _Alone:
    """What LyCORIS makes of one module alone; remembered by entry and kind of module."""

    def __init__(self, config: LycorisConfig) -> None:
        self.settings = config.written()
        self.known: dict[str, Tensors | None] = {}

    def tensors(self, module: nn.Module, entry: dict[str, Any]) -> Tensors | None:
        """The tensors for this module under this entry; None if LyCORIS cannot adapt it."""
        if any(True for _ in module.children()):
            return None
        key = repr((type(module), module.extra_repr(), sorted(entry.items())))
        if key not in self.known:
            preset = {
                "enable_conv": True,
                "target_module": [],
                "target_name": [],
                "module_algo_map": {},
                "name_algo_map": {"module": entry},
                "use_fnmatch": True,
                "exclude_name": [],
            }
            config = LycorisConfig.model_validate(self.settings | {"apply_preset": preset})
            network = network_tensors(nn.ModuleDict({"module": module}), config)
            self.known[key] = network.get("module")
        return self.known[key]


def _notes(preset: Preset) -> list[str]:
    entries = [*preset.name_algo_map.values(), *preset.module_algo_map.values()]
    ignored = [key for key in IGNORED_IN_ENTRIES if any(key in entry for entry in entries)]
    if not ignored:
        return []
    right = " and ".join(key.removeprefix("linear_") for key in ignored)
    return [f"LyCORIS ignores {' and '.join(ignored)} inside an entry; there it reads {right}"]
