"""Which modules of a model are its blocks: one row of a table for each family of models."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class BlockList:
    """One module list of blocks.

    Attributes:
        path: the list's name in the model, e.g. "transformer_blocks".
        base: patterns of names inside a block, most specific first: the feed-forward and
            modulation Linears, which get the block's factor itself.
    """

    path: str
    base: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A family of models: its classes' names and its block lists, in the order they run."""

    name: str
    classes: tuple[str, ...]
    lists: tuple[BlockList, ...]


@dataclass(frozen=True)
class BlockLinear:
    """A Linear inside a block.

    Attributes:
        name: its full name in the model.
        block: the block's full name.
        pattern: the configuration's pattern that names it, e.g. "transformer_blocks.0.ff*".
        base: whether it gets the block's factor itself.
        out_features: output width.
        in_features: input width.
    """

    name: str
    block: str
    pattern: str
    base: bool
    out_features: int
    in_features: int


FAMILIES: tuple[Family, ...] = (
    Family(
        "sd3",
        ("SD3Transformer2DModel",),
        (BlockList("transformer_blocks", ("norm1_context*", "norm1*", "ff*")),),
    ),
    Family(
        "flux",
        ("FluxTransformer2DModel",),
        (
            BlockList("transformer_blocks", ("norm1_context*", "norm1*", "ff*")),
            BlockList("single_transformer_blocks", ("norm*", "proj_mlp*", "proj_out*")),
        ),
    ),
    Family(
        "auraflow",
        ("AuraFlowTransformer2DModel",),
        (
            BlockList("joint_transformer_blocks", ("norm1_context*", "norm1*", "ff*")),
            BlockList("single_transformer_blocks", ("norm1*", "ff*")),
        ),
    ),
)


def family_of(model: "nn.Module") -> Family:
    """The family that a model's class belongs to.

    Raises:
        LokrWeightingError: no row of the table names the class; lists the module lists found.
    """
    name = type(model).__name__
    for family in FAMILIES:
        if name in family.classes:
            return family
    known = ", ".join(class_ for family in FAMILIES for class_ in family.classes)
    found = ", ".join(
        f"{path} ({len(list(child.children()))} x {type(next(child.children())).__name__})"
        for path, child in model.named_modules()
        if type(child).__name__ == "ModuleList" and "." not in path and any(child.children())
    )
    raise LokrWeightingError(
        f"{name} is in no family of models known here (known: {known}); "
        f"its module lists are: {found or 'none'}"
    )


def block_names(model: "nn.Module") -> list[str]:
    """The blocks' names in the order they run: the order of a heatmap's columns."""
    return [
        f"{blocks.path}.{index}"
        for blocks in family_of(model).lists
        for index, _ in enumerate(model.get_submodule(blocks.path).children())
    ]


def block_linears(model: "nn.Module") -> list[BlockLinear]:
    """Every Linear inside a block, in the order of the blocks and of their modules."""
    return [
        linear
        for blocks in family_of(model).lists
        for index, block in enumerate(model.get_submodule(blocks.path).children())
        for linear in _linears_of(block, f"{blocks.path}.{index}", blocks)
    ]


def _linears_of(block: "nn.Module", path: str, blocks: BlockList) -> Iterator[BlockLinear]:
    from torch import nn

    for name, module in block.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        pattern = next((base for base in blocks.base if fnmatchcase(name, base)), None)
        yield BlockLinear(
            name=f"{path}.{name}",
            block=path,
            pattern=f"{path}.{pattern or '*'}",
            base=pattern is not None,
            out_features=module.out_features,
            in_features=module.in_features,
        )
