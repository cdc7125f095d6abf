"""The read-back: whether a configuration makes LyCORIS train what it says."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import nn

from lokr_weighting.targets.lycoris.claims import Claim, Effects, claim_of
from lokr_weighting.targets.lycoris.config import LycorisConfig, Preset
from lokr_weighting.targets.lycoris.network import Network, build_network, network_tensors
from lokr_weighting.targets.lycoris.patterns import check_patterns
from lokr_weighting.targets.tensors import Tensors, parameters

Status = Literal["exact", "wrong", "missing", "unasked"]


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
        notes: what LyCORIS itself said when it made the network.
    """

    modules: tuple[ModuleResult, ...]
    faults: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many modules have each status."""
        counted = Counter(module.status for module in self.modules)
        return {status: counted[status] for status in get_args(Status)}

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


def read_back(
    transformer: nn.Module,
    config: LycorisConfig,
    build: Callable[[nn.Module], Network] | None = None,
) -> Readback:
    """Build the real network and compare every module with what the configuration asks for.

    What would be exact is found by asking LyCORIS for each module alone.

    Args:
        transformer: the model; on the meta device it takes no memory. It is not changed.
        config: any LyCORIS configuration.
        build: builds the network of the whole, where a trainer does not as `create_lycoris`.

    Raises:
        LokrWeightingError: LyCORIS refuses the configuration, or a pattern never ends.
    """
    preset = config.apply_preset or Preset()
    modules = dict(transformer.named_modules())
    check_patterns(preset, modules)
    network = build_network(transformer, config) if build is None else build(transformer)
    made = network.tensors
    claims = dict(_claims(modules, preset))
    alone = _made_alone(config, ((modules[name], claim.entry) for name, claim in claims.items()))
    asked = dict(zip(claims, alone, strict=True))
    effects = Effects()
    results = []
    for name in modules:
        wanted, got = asked.get(name), made.get(name)
        if wanted is None and got is None:
            continue
        source = factor = None
        if wanted is not None:
            claim = claims[name]
            effects.add(claim)
            source = claim.source
            factor = claim.entry.get("factor", config.written().get("factor"))
        results.append(ModuleResult(name, _status(wanted, got), source, factor, wanted, got))
    return Readback(tuple(results), effects.faults(preset), network.said)


def _status(asked: Tensors | None, made: Tensors | None) -> Status:
    if asked is None:
        return "unasked"
    if made is None:
        return "missing"
    return "exact" if asked == made else "wrong"


def _claims(modules: dict[str, nn.Module], preset: Preset) -> Iterator[tuple[str, Claim]]:
    """What the preset asks for, for each module that holds no others: only these are adapted."""
    for name, module in modules.items():
        if not name or any(True for _ in module.children()):
            continue
        parts = name.split(".")
        around = (modules[".".join(parts[:end])] for end in range(len(parts), 0, -1))
        claim = claim_of(name, [type(each).__name__ for each in around], preset)
        if claim is not None:
            yield name, claim


def _made_alone(
    config: LycorisConfig, wanted: Iterable[tuple[nn.Module, dict[str, Any]]]
) -> list[Tensors | None]:
    """What LyCORIS makes of each module under its entry alone; None where it cannot adapt it.

    All are put into one network, under names that no other entry matches; modules of one kind with
    one entry stand there once.
    """
    kinds: list[str] = []
    first: dict[str, tuple[nn.Module, dict[str, Any]]] = {}
    for module, entry in wanted:
        kinds.append(repr((type(module), module.extra_repr(), sorted(entry.items()))))
        first.setdefault(kinds[-1], (module, entry))
    if not first:
        return []
    numbers = {kind: str(number) for number, kind in enumerate(first)}
    preset = {
        "enable_conv": True,
        "target_module": [],
        "target_name": [],
        "module_algo_map": {},
        "name_algo_map": {numbers[kind]: entry for kind, (_, entry) in first.items()},
        "use_fnmatch": True,
        "exclude_name": [],
    }
    modules = nn.ModuleDict({numbers[kind]: module for kind, (module, _) in first.items()})
    each_alone = LycorisConfig.model_validate(config.written() | {"apply_preset": preset})
    made = network_tensors(modules, each_alone)
    return [made.get(numbers[kind]) for kind in kinds]
