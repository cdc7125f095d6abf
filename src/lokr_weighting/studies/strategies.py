"""Running a model's blocks otherwise: skipped, repeated, in another order, in parallel, replaced.

The execution strategies of "Transformer Layers as Painters" (Sun et al., 2024, arXiv 2407.09298),
for the blocks of one module list. The model is as before once the context is left.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import lists_of
from lokr_weighting.models.family import Streams
from lokr_weighting.models.table import family_of
from lokr_weighting.studies.stand_ins import Identity, Parallel, StandIn

Kind = Literal[
    "skip",
    "repeat",
    "reverse",
    "parallel",
    "replace",
    "skip every second",
    "random order",
    "looped",
]
TIMES = 3  # of the looped parallel
SEVERAL: tuple[Kind, ...] = ("skip every second", "random order")  # nothing for a single block


@dataclass(frozen=True)
class Strategy:
    """One way to run the blocks `first` to `last` of a list, both included.

    Attributes:
        kind: skip: leave them out; skip every second: leave out the second, fourth, ...; repeat:
            run one of them in the place of each; reverse: in the opposite order; random order: in
            another order, drawn; parallel: all on the same input, their outputs averaged; looped:
            the same again and again; replace: run any block of the list in the place of each.
        path: the module list's name, e.g. "transformer_blocks".
        first: the first block's number in the list.
        last: the last block's number in the list.
        by: the block that is run, for "replace", and for "repeat"; there by default the middle one.
        times: how often "looped" runs them; by default 3.
        seed: decides the order of "random order"; by default 0.
    """

    kind: Kind
    path: str
    first: int
    last: int
    by: int | None = None
    times: int | None = None
    seed: int | None = None

    @property
    def label(self) -> str:
        """A short name: "skip transformer_blocks.3", "reverse transformer_blocks.3-8"."""
        blocks = f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"
        by = "" if self.by is None else f" by {self.by}"
        times = "" if self.times is None else f" {self.times} times"
        seed = "" if self.seed is None else f" (seed {self.seed})"
        return f"{self.kind}{times} {self.path}.{blocks}{by}{seed}"


@contextmanager
def executed(model: nn.Module, strategy: Strategy) -> Iterator[None]:
    """Within the context, the model runs its blocks by the strategy.

    Models that hand their blocks to functions, as their family's row says, run by it too.

    Raises:
        LokrWeightingError: the model has no such blocks, or it ran without running what stands in
            their place: it does not call them.
    """
    streams = {blocks.path: blocks.streams for blocks in lists_of(model)}
    if strategy.path not in streams:
        raise LokrWeightingError(
            f"{strategy.label}: {type(model).__name__} has no {strategy.path}, only "
            f"{', '.join(streams)}"
        )
    blocks: Any = model.get_submodule(strategy.path)
    before = list(blocks)
    _check(strategy, len(before))
    span = range(strategy.first, strategy.last + 1)
    changed = _changed(strategy, [before[i] for i in span], before, streams[strategy.path])
    stand_ins = [each for each in changed if isinstance(each, StandIn)]

    def ran(_module: nn.Module, _args: Any, _output: Any) -> None:
        if stand_ins and not any(each.runs for each in stand_ins):
            raise LokrWeightingError(
                f"{strategy.label}: {type(model).__name__} ran without these blocks: it does not "
                "call them, so it cannot be run otherwise"
            )

    with ExitStack() as undo:
        _watch_functions(model, undo)
        undo.callback(model.register_forward_hook(ran).remove)
        for index in span:
            undo.callback(blocks.__setitem__, index, before[index])
        for index, block in zip(span, changed, strict=True):
            blocks[index] = block
        yield


def _check(strategy: Strategy, blocks: int) -> None:
    """Refuse what a list of so many blocks cannot do."""
    wanted = [strategy.first, strategy.last, *([] if strategy.by is None else [strategy.by])]
    if not 0 <= strategy.first <= strategy.last or max(wanted) >= blocks or min(wanted) < 0:
        raise LokrWeightingError(f"{strategy.label}: {strategy.path} has blocks 0 to {blocks - 1}")
    by = strategy.first if strategy.by is None else strategy.by
    if strategy.kind == "repeat" and not strategy.first <= by <= strategy.last:
        raise LokrWeightingError(
            f"{strategy.label}: block {by} is not one of these; the kind replace runs any block of "
            "the list in their place"
        )
    if strategy.times is not None and strategy.times < 1:
        raise LokrWeightingError(f"{strategy.label}: times counts from 1")
    if strategy.kind in SEVERAL and strategy.first == strategy.last:
        raise LokrWeightingError(f"{strategy.label}: needs two blocks or more")


def _watch_functions(model: nn.Module, undo: ExitStack) -> None:
    """Run stand-ins where the model hands its blocks to functions of its module."""
    module = sys.modules[type(model).__module__]
    for name in family_of(model).functions:
        function = getattr(module, name)
        undo.callback(setattr, module, name, function)
        setattr(module, name, _running_stand_ins(function))


def _running_stand_ins(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function of a block, which runs a stand-in by its own rule."""

    @functools.wraps(function)
    def run(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if isinstance(block, StandIn):
            return block.run(function, function, args, kwargs)
        return function(block, *args, **kwargs)

    return run


def _changed(
    strategy: Strategy, chosen: list[nn.Module], every: Sequence[nn.Module], streams: Streams
) -> list[nn.Module]:
    """What stands in the place of the chosen blocks."""
    skipped: list[nn.Module] = [Identity(block, streams) for block in chosen]
    count = len(chosen)
    if strategy.kind == "skip":
        return skipped
    if strategy.kind == "skip every second":
        return [skipped[i] if i % 2 else chosen[i] for i in range(count)]
    if strategy.kind == "repeat":
        by = strategy.first + count // 2 if strategy.by is None else strategy.by
        return [every[by]] * count
    if strategy.kind == "reverse":
        return chosen[::-1]
    if strategy.kind == "random order":
        return [chosen[i] for i in drawn_order(count, strategy.seed or 0)]
    if strategy.kind == "parallel":
        return [Parallel(chosen, streams), *skipped[1:]]
    if strategy.kind == "looped":
        times = TIMES if strategy.times is None else strategy.times
        return [Parallel(chosen, streams, times), *skipped[1:]]
    if strategy.by is None:
        raise LokrWeightingError(f"{strategy.label}: say which block replaces them (by)")
    return [every[strategy.by]] * count


def drawn_order(count: int, seed: int) -> list[int]:
    """An order of so many blocks, two at least, that is not their own.

    Args:
        count: how many.
        seed: decides the order.
    """
    rng = np.random.default_rng(seed)
    order = own = list(range(count))
    while order == own:
        order = rng.permutation(count).tolist()
    return order
