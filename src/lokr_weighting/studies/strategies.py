"""Running a model's blocks otherwise: skipped, repeated, reversed, in parallel, replaced.

The execution strategies of "Transformer Layers as Painters" (Sun et al., 2024, arXiv 2407.09298),
for the blocks of one module list. The model is as before once the context is left.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.arguments import argument
from lokr_weighting.models.blocks import lists_of
from lokr_weighting.models.family import Streams

Kind = Literal["skip", "repeat", "reverse", "parallel", "replace"]


@dataclass(frozen=True)
class Strategy:
    """One way to run the blocks `first` to `last` of a list, both included.

    Attributes:
        kind: skip: leave them out; repeat: run the middle one in the place of each; reverse: in the
            opposite order; parallel: all on the same input, their outputs averaged; replace: run
            the block `by` in the place of each.
        path: the module list's name, e.g. "transformer_blocks".
        first: the first block's number in the list.
        last: the last block's number in the list.
        by: for "replace".
    """

    kind: Kind
    path: str
    first: int
    last: int
    by: int | None = None

    @property
    def label(self) -> str:
        """A short name: "skip transformer_blocks.3", "reverse transformer_blocks.3-8"."""
        blocks = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        by = "" if self.by is None else f" by {self.by}"
        return f"{self.kind} {self.path}.{blocks}{by}"


@contextmanager
def executed(model: nn.Module, strategy: Strategy) -> Iterator[None]:
    """Within the context, the model runs its blocks by the strategy.

    Raises:
        LokrWeightingError: the model has no such blocks.
    """
    streams = {blocks.path: blocks.streams for blocks in lists_of(model)}
    if strategy.path not in streams:
        raise LokrWeightingError(
            f"{strategy.label}: {type(model).__name__} has no {strategy.path}, only "
            f"{', '.join(streams)}"
        )
    blocks: Any = model.get_submodule(strategy.path)
    before = list(blocks)
    wanted = [strategy.first, strategy.last, *([] if strategy.by is None else [strategy.by])]
    if not 0 <= strategy.first <= strategy.last or max(wanted) >= len(before) or min(wanted) < 0:
        raise LokrWeightingError(
            f"{strategy.label}: {strategy.path} has blocks 0 to {len(before) - 1}"
        )
    span = range(strategy.first, strategy.last + 1)
    changed = _changed(strategy, [before[i] for i in span], before, streams[strategy.path])
    try:
        for index, block in zip(span, changed, strict=True):
            blocks[index] = block
        yield
    finally:
        for index in span:
            blocks[index] = before[index]


def _changed(
    strategy: Strategy, chosen: list[nn.Module], every: Sequence[nn.Module], streams: Streams
) -> list[nn.Module]:
    """What stands in the place of the chosen blocks."""
    skipped: list[nn.Module] = [Identity(block, streams) for block in chosen]
    if strategy.kind == "skip":
        return skipped
    if strategy.kind == "repeat":
        return [chosen[len(chosen) // 2]] * len(chosen)
    if strategy.kind == "reverse":
        return chosen[::-1]
    if strategy.kind == "parallel":
        return [Parallel(chosen), *skipped[1:]]
    if strategy.by is None:
        raise LokrWeightingError(f"{strategy.label}: say which block replaces them (by)")
    return [every[strategy.by]] * len(chosen)


class Identity(nn.Module):
    """A block that hands on what it gets.

    Args:
        block: the block it stands for: its forward says what the arguments are called.
        streams: where the streams enter and leave it.
    """

    def __init__(self, block: nn.Module, streams: Streams) -> None:
        super().__init__()
        self.block_class = type(block)
        self.streams = streams

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the streams in the places where the block returns them."""
        streams = self.streams
        if streams.image_in is None:
            assert streams.text_in is not None
            text = self._argument(streams.text_in, args, kwargs)
            return text if streams.text_out is None else (*[None] * streams.text_out, text)
        image = self._argument(streams.image_in, args, kwargs)
        if streams.image_out is None:
            return image
        places = {streams.image_out: image}
        if streams.text_out is not None and streams.text_in is not None:
            places[streams.text_out] = self._argument(streams.text_in, args, kwargs)
        return tuple(places.get(place) for place in range(max(places) + 1))

    def _argument(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        own = self.block_class
        return argument(name, own.forward, args, kwargs, own.__name__)


class Parallel(nn.Module):
    """Several blocks on the same input, their outputs averaged."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Average each stream over the blocks that hand it on."""
        outputs = [block(*args, **kwargs) for block in self.blocks]
        if isinstance(outputs[0], Tensor):
            return torch.stack(outputs).mean(dim=0)
        return tuple(
            _mean([each for each in part if each is not None])
            for part in zip(*outputs, strict=True)
        )


def _mean(tensors: list[Tensor]) -> Tensor | None:
    return torch.stack(tensors).mean(dim=0) if tensors else None
