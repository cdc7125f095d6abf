"""What a LyCORIS preset says of a module, by the order LyCORIS documents: names before classes."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from os.path import normcase
from typing import Any

from lokr_weighting.targets.lycoris.config import Preset


@dataclass(frozen=True)
class Claim:
    """Which part of a preset asks for a module.

    Attributes:
        source: the pattern or class that decides.
        entry: the settings it asks for, beside the configuration's own.
        overruled: patterns that match too, ask for something else and come later.
        repeated: patterns that match too and ask for the same.
        seized_by: a class around the module that LyCORIS adapts whole before it reads the name.
    """

    source: str
    entry: dict[str, Any]
    overruled: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    seized_by: str | None = None


def claim_of(name: str, classes: list[str], preset: Preset) -> Claim | None:
    """The part of the preset that asks for a module, or None.

    Args:
        name: the module's full name.
        classes: its class name, then those of the modules around it, innermost first.
        preset: the preset.
    """
    if any(_matches(name, pattern, preset) for pattern in preset.exclude_name):
        return None
    entries = preset.name_algo_map
    matching = [pattern for pattern in entries if _matches(name, pattern, preset)]
    if matching:
        first = name if name in entries else matching[0]
        others = [pattern for pattern in matching if pattern != first]
        return Claim(
            first,
            entries[first],
            tuple(pattern for pattern in others if entries[pattern] != entries[first]),
            tuple(pattern for pattern in others if entries[pattern] == entries[first]),
            next((class_ for class_ in classes[1:] if class_ in preset.target_module), None),
        )
    of_class = preset.module_algo_map
    for pattern in preset.target_name:
        if _matches(name, pattern, preset):
            return Claim(pattern, of_class.get(classes[0], {}))
    for class_ in classes:
        if class_ in of_class:
            return Claim(class_, of_class[class_])
        if class_ in preset.target_module:
            return Claim(class_, {})
    return None


@dataclass
class Effects:
    """What the parts of a preset did, gathered module by module."""

    decided: Counter[str] = field(default_factory=Counter)
    repeated: set[str] = field(default_factory=set)
    overruled: dict[str, Counter[str]] = field(default_factory=dict)
    seized: Counter[str] = field(default_factory=Counter)

    def add(self, claim: Claim) -> None:
        """Count a module that can be adapted and that the claim asks for."""
        self.decided[claim.source] += 1
        self.repeated.update(claim.repeated)
        for pattern in claim.overruled:
            self.overruled.setdefault(pattern, Counter())[claim.source] += 1
        if claim.seized_by:
            self.seized[claim.seized_by] += 1

    def faults(self, preset: Preset) -> dict[str, str]:
        """Patterns and classes without the effect they should have -> why.

        A pattern that only repeats what an earlier one says is no fault.
        """
        without_effect: dict[str, str] = {}
        parts = [
            *preset.name_algo_map,
            *preset.target_name,
            *preset.module_algo_map,
            *preset.target_module,
        ]
        for part in dict.fromkeys(parts):
            if self.seized[part]:
                without_effect[part] = (
                    "in target_module, so LyCORIS takes all modules inside this class before it "
                    f"reads name_algo_map, which names {self.seized[part]} of them; "
                    "set target_module to []"
                )
            elif self.decided[part] or part in self.repeated:
                continue
            elif by := self.overruled.get(part):
                first, count = by.most_common(1)[0]
                without_effect[part] = (
                    f"comes after {first}, which decides all it matches ({count})"
                )
            else:
                without_effect[part] = "matches nothing that can be adapted"
        return without_effect


def _matches(name: str, pattern: str, preset: Preset) -> bool:
    """Whether LyCORIS says so: by fnmatch.fnmatch or re.match, or because they are equal."""
    seen = normcase(name) if preset.use_fnmatch else name
    return name == pattern or _matcher(pattern, preset.use_fnmatch)(seen) is not None


@cache  # without a limit: those of re and fnmatch can be too small for a large model's patterns
def _matcher(pattern: str, use_fnmatch: bool) -> Callable[[str], Any]:
    return re.compile(translate(normcase(pattern)) if use_fnmatch else pattern).match
