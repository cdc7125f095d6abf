"""Which modules of a model are its blocks: one row of a table for each family of models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Streams:
    """Where the two streams enter and leave a block.

    Attributes:
        image_in: the argument of the block's forward that holds the image tokens, or both streams
            where they are joined.
        text_in: the argument that holds the text tokens; None where the block has none of its own.
        image_out: the index of the image tokens in the block's output; None where the output is
            one tensor.
        text_out: the index of the text tokens in the output. A block whose output there is None
            hands no text on and has no text distance.
        joined: whether image_in is one sequence of both streams, and which comes first. How many
            of its tokens are text is known from the separate blocks that ran before.
    """

    image_in: str = "hidden_states"
    text_in: str | None = "encoder_hidden_states"
    image_out: int | None = 1
    text_out: int | None = 0
    joined: Literal["text first", "image first"] | None = None


SEPARATE = Streams()
"""Both streams apart, the text first in the output: SD3, Flux, AuraFlow's joint blocks."""
JOINED = Streams(text_in=None, image_out=None, text_out=None, joined="text first")
"""One sequence, text and image, in and out: AuraFlow's single blocks."""


@dataclass(frozen=True)
class BlockList:
    """One module list of blocks.

    Attributes:
        path: the list's name in the model, e.g. "transformer_blocks".
        base: patterns of names inside a block, most specific first: the feed-forward and
            modulation Linears, which get the block's factor itself.
        streams: where the streams enter and leave its blocks.
    """

    path: str
    base: tuple[str, ...]
    streams: Streams = SEPARATE


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        name: the family's name.
        classes: its classes' names.
        lists: its block lists, in the order they run.
        library: the package the classes come from; None: any.
        functions: functions beside the class that run the block given to them first, for models
            that do not call their blocks.
    """

    name: str
    classes: tuple[str, ...]
    lists: tuple[BlockList, ...]
    library: str | None = None
    functions: tuple[str, ...] = ()

    def holds(self, model: "nn.Module") -> bool:
        """Whether the model is of this family."""
        library = type(model).__module__.partition(".")[0]
        return type(model).__name__ in self.classes and self.library in (None, library)


@dataclass(frozen=True)
class Block:
    """One block of a model: its full name, its module, and where its streams enter and leave."""

    name: str
    module: "nn.Module"
    streams: Streams


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


FAMILIES: list[Family] = [
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
            BlockList("single_transformer_blocks", ("norm1*", "ff*"), JOINED),
        ),
    ),
]


def register_family(family: Family) -> None:
    """Add a family to the table; it goes before the families of the same classes."""
    FAMILIES.insert(0, family)


def family_of(model: "nn.Module") -> Family:
    """The family that a model's class belongs to.

    Raises:
        LokrWeightingError: no row of the table names the class; lists the module lists found.
    """
    name = type(model).__name__
    for family in FAMILIES:
        if family.holds(model):
            return family
    lists = {
        path: child
        for path, child in model.named_modules()
        if type(child).__name__ == "ModuleList" and "." not in path and any(child.children())
    }
    found = ", ".join(
        f"{path} ({len(list(child.children()))} x {type(next(child.children())).__name__})"
        for path, child in lists.items()
    )
    rows = ", ".join(f'BlockList("{path}", ("norm*", "ff*"), streams)' for path in lists)
    raise LokrWeightingError(
        f"{name} is in no family of models known here; its module lists are: {found or 'none'}. "
        "To add it, say where its streams enter and leave: lokr_weighting.register_family("
        f'Family("my_family", ("{name}",), ({rows},)))'
    )


def blocks_of(model: "nn.Module") -> list[Block]:
    """The blocks in the order they run: the order of a heatmap's columns."""
    return [
        Block(f"{blocks.path}.{index}", module, blocks.streams)
        for blocks in family_of(model).lists
        for index, module in enumerate(model.get_submodule(blocks.path).children())
    ]


def block_names(model: "nn.Module") -> list[str]:
    """The blocks' names in the order they run."""
    return [block.name for block in blocks_of(model)]


def places_in_lists(names: Sequence[str]) -> dict[str, list[int]]:
    """Each list's name -> its blocks' places among all blocks, in the order they run."""
    lists: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        lists.setdefault(name.rpartition(".")[0], []).append(place)
    return lists


def ranges_of_lists(names: Sequence[str]) -> list[str]:
    """The numbers of each list's blocks, e.g. "0 to 37: transformer_blocks"."""
    lists = places_in_lists(names)
    return [f"{places[0]} to {places[-1]}: {path}" for path, places in lists.items()]


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
