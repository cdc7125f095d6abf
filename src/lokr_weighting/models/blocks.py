"""A model's blocks, and the Linears and convolutions in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.family import BlockList, Streams
from lokr_weighting.models.skeleton import Skeleton, class_of, skeleton_of
from lokr_weighting.models.table import family_of

if TYPE_CHECKING:
    from torch import nn

Stream = Literal["image", "text"]
CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d")


@dataclass(frozen=True)
class Block:
    """One block of a model: its full name, its module, and where its streams enter and leave."""

    name: str
    module: "nn.Module"
    streams: Streams


@dataclass(frozen=True)
class BlockLinear:
    """A Linear inside a block, or a convolution: one Linear for every window its kernel sees.

    Attributes:
        name: its full name in the model.
        block: the block's full name.
        pattern: the configuration's pattern that names it, e.g. "transformer_blocks.0.ff*".
        base: whether it gets the block's factor itself.
        out_features: output width; a convolution's output channels.
        in_features: input width; a convolution's input channels, of one group.
        kernel: a convolution's kernel, e.g. (3, 3); () for a Linear.
        joins: in a trainer whose model joins several into one: diffusers' Linears that it is; () in
            diffusers' own model.
        groups: into how many a convolution parts its channels; 1 for a Linear.
        stream: whose tokens pass through it, "image" or "text"; None where both do. In a block of
            one stream alone it is that one.
        added: trainable parameters that it gets beside its LoKr's two matrices.
        unmeasured: the stream that it works on, where that is not measured.
    """

    name: str
    block: str
    pattern: str
    base: bool
    out_features: int
    in_features: int
    stream: Stream | None = None
    added: int = 0
    kernel: tuple[int, ...] = ()
    groups: int = 1
    joins: tuple[str, ...] = ()
    unmeasured: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its weight's shape."""
        return self.out_features, self.in_features, *self.kernel


def lists_of(model: "nn.Module | Skeleton") -> list[BlockList]:
    """The block lists that a model has, each by its own path, in the order they run.

    Raises:
        LokrWeightingError: a list that its family's row names is not there, or the model has none.
    """
    family, names = family_of(model), [name for name, _ in model.named_modules()]
    found: list[BlockList] = []
    for blocks in family.lists:
        own = [name for name in names if _matches(name, blocks.path)]
        if not own and "*" not in blocks.path:
            raise LokrWeightingError(
                f"{class_of(model)[0]} has no {blocks.path!r}, which the row of its family "
                f"{family.name!r} names as a list of blocks; correct the row"
            )
        found += [replace(blocks, path=name) for name in own]
    if not found:
        paths = ", ".join(blocks.path for blocks in family.lists)
        raise LokrWeightingError(
            f"this {class_of(model)[0]} has no blocks that can be measured: nothing in it is "
            f"called {paths}"
        )
    return found


def _matches(name: str, path: str) -> bool:
    """Whether a module's name is that path, where `*` is any one part of it."""
    parts, wanted = name.split("."), path.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def blocks_of(model: "nn.Module") -> list[Block]:
    """The blocks in the order they run: the order of a heatmap's columns."""
    return [
        Block(f"{blocks.path}.{index}", module, blocks.streams)
        for blocks in lists_of(model)
        for index, module in enumerate(model.get_submodule(blocks.path).children())
    ]


def block_names(model: "nn.Module | Skeleton") -> list[str]:
    """The blocks' names in the order they run."""
    return [name for _, name, _ in _blocks_in(skeleton_of(model))]


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


def block_linears(model: "nn.Module | Skeleton") -> list[BlockLinear]:
    """Every Linear and convolution inside a block, in the order of blocks and modules."""
    return [
        linear
        for blocks, name, block in _blocks_in(skeleton_of(model))
        for linear in _linears_in(block, name, blocks)
    ]


def _blocks_in(model: Skeleton) -> Iterator[tuple[BlockList, str, Skeleton]]:
    """Every block with its list and its full name."""
    modules = dict(model.named_modules())
    for blocks in lists_of(model):
        for index, block in enumerate(modules[blocks.path].children.values()):
            yield blocks, f"{blocks.path}.{index}", block


def _linears_in(block: Skeleton, path: str, blocks: BlockList) -> Iterator[BlockLinear]:
    for name, module in block.named_modules():
        shape = shape_of(module)
        if shape is None:
            continue
        out_features, in_features, *kernel = shape
        pattern = next((base for base in blocks.base if fnmatchcase(name, base)), None)
        yield BlockLinear(
            name=f"{path}.{name}",
            block=path,
            pattern=f"{path}.{pattern or '*'}",
            base=pattern is not None,
            out_features=out_features,
            in_features=in_features,
            stream=_stream(name, blocks),
            kernel=tuple(kernel),
            groups=module.arguments.get("groups", 1),
            unmeasured=_unmeasured(name, blocks),
        )


def shape_of(module: Skeleton) -> tuple[int, ...] | None:
    """The shape of a Linear's or a convolution's weight; None for other modules."""
    arguments = module.arguments
    if module.base == "Linear":
        return arguments["out_features"], arguments["in_features"]
    if module.base not in CONVOLUTIONS:
        return None
    in_channels = arguments["in_channels"] // arguments["groups"]
    return arguments["out_channels"], in_channels, *arguments["kernel_size"]


def _unmeasured(name: str, blocks: BlockList) -> str | None:
    """The stream that the Linear of that name works on, where that is not measured."""
    for stream, patterns in blocks.unmeasured.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return stream
    return None


def _stream(name: str, blocks: BlockList) -> Stream | None:
    """Whose tokens pass through the Linear of that name inside a block."""
    if blocks.streams.alone or not blocks.text:
        return blocks.streams.alone
    return "text" if any(fnmatchcase(name, pattern) for pattern in blocks.text) else "image"
