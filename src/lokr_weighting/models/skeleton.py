"""A model's modules without its weights: names, classes and widths, as plain data.

Planning needs no more, and so no torch; and a network can be read back on modules that are made
from it, without the library that the model comes from.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

ARGUMENTS = {
    "Linear": ("in_features", "out_features", "bias"),
    "Conv1d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups", "bias"),
    "Conv2d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups", "bias"),
    "Conv3d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups", "bias"),
    "LayerNorm": ("normalized_shape", "elementwise_affine", "bias"),
    "GroupNorm": ("num_groups", "num_channels", "affine"),
}
"""torch's classes that an adapter can adapt -> what they are made with."""


@dataclass(frozen=True)
class Skeleton:
    """One module and those inside it.

    Attributes:
        class_name: its class's name.
        library: the package its class comes from.
        base: the class of `ARGUMENTS` that it is or inherits from; None: another.
        arguments: what that class is made with.
        parameters: of another class: its own parameters' shapes.
        children: its modules by name, in their order.
    """

    class_name: str
    library: str
    base: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    children: Mapping[str, "Skeleton"] = field(default_factory=dict)

    def named_modules(self, name: str = "") -> Iterator[tuple[str, "Skeleton"]]:
        """This module under `name` and every one inside it, with full names, in torch's order."""
        yield name, self
        for child_name, child in self.children.items():
            yield from child.named_modules(f"{name}.{child_name}" if name else child_name)

    def to_module(self) -> "nn.Module":
        """Modules of the same names, classes' names and sizes, on the meta device.

        They can be adapted, but not run.
        """
        import torch

        with torch.device("meta"):
            return _module_of(self)


def class_of(model: "nn.Module | Skeleton") -> tuple[str, str]:
    """A model's class: its name, and the package that it comes from."""
    if isinstance(model, Skeleton):
        return model.class_name, model.library
    return type(model).__name__, type(model).__module__.partition(".")[0]


def skeleton_of(model: "nn.Module | Skeleton") -> Skeleton:
    """The skeleton of a model; a module that stands in two places counts in the first."""
    if isinstance(model, Skeleton):
        return model
    children: dict[str, dict[str, Skeleton]] = {}
    for name, module in reversed(list(model.named_modules())):
        # a module comes after the one around it, so its own are complete by now
        inside = dict(reversed(children.pop(name, {}).items()))
        skeleton = _skeleton(module, inside)
        if not name:
            return skeleton
        parent, _, own = name.rpartition(".")
        children.setdefault(parent, {})[own] = skeleton
    raise AssertionError("named_modules begins with the model itself")


def _skeleton(module: "nn.Module", children: dict[str, Skeleton]) -> Skeleton:
    from torch import nn

    name, library = class_of(module)
    base = next((each for each in ARGUMENTS if isinstance(module, getattr(nn, each))), None)
    if base is None:
        shapes = {key: tuple(own.shape) for key, own in module.named_parameters(recurse=False)}
        return Skeleton(name, library, parameters=shapes, children=children)
    arguments = {key: getattr(module, key) for key in ARGUMENTS[base]}
    # an attribute of that name holds the parameter itself, or None
    arguments |= {"bias": arguments["bias"] is not None} if "bias" in arguments else {}
    return Skeleton(name, library, base, arguments, children=children)


def _module_of(skeleton: Skeleton) -> "nn.Module":
    import torch
    from torch import nn

    module = _class_named(skeleton.class_name, skeleton.base or "Module")(**skeleton.arguments)
    for name, shape in skeleton.parameters.items():
        module.register_parameter(name, nn.Parameter(torch.empty(shape)))
    for name, child in skeleton.children.items():
        module.add_module(name, _module_of(child))
    return module


@cache
def _class_named(name: str, base: str) -> Any:
    """A class of that name: torch's own where it is that, or one that inherits from it."""
    from torch import nn

    parent = getattr(nn, base)
    return parent if name == base else type(name, (parent,), {})


def dump_skeleton(skeleton: Skeleton) -> str:
    """A skeleton as JSON: every different module once, its children by their numbers in the list.

    The last module is the model itself.
    """
    rows: dict[str, int] = {}

    def number_of(module: Skeleton) -> int:
        children = {name: number_of(child) for name, child in module.children.items()}
        row = {
            "class": module.class_name,
            "library": module.library,
            "base": module.base,
            "arguments": module.arguments,
            "parameters": module.parameters,
            "children": children,
        }
        line = json.dumps({key: value for key, value in row.items() if value})
        return rows.setdefault(line, len(rows))

    number_of(skeleton)
    return "[\n" + ",\n".join(rows) + "\n]\n"


def parse_skeleton(text: str) -> Skeleton:
    """What `dump_skeleton` gave."""
    modules: list[Skeleton] = []
    for row in json.loads(text):
        children = {name: modules[number] for name, number in row.get("children", {}).items()}
        arguments = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in row.get("arguments", {}).items()
        }
        parameters = {name: tuple(shape) for name, shape in row.get("parameters", {}).items()}
        modules.append(
            Skeleton(
                row["class"],
                row["library"],
                row.get("base"),
                arguments,
                parameters,
                children,
            )
        )
    return modules[-1]
