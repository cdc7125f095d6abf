"""Which part of a model is planned: some of its blocks, or one stream's Linears."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear, Stream, places_in_lists, ranges_of_lists
from lokr_weighting.parsing import shortened
from lokr_weighting.plan.choice import Choice


@dataclass(frozen=True)
class Selection:
    """A part of a model, as it was asked for.

    Attributes:
        asked: the text that asked for it.
        count: how many blocks are in the model.
        blocks: blocks that are in it, whatever they contribute.
        top: how many more: those that the recipe prefers; 0 where none were asked for.
        stream: whose Linears alone are in it, with those that both streams pass through; None:
            all Linears of its blocks.
    """

    asked: str
    count: int
    blocks: frozenset[int] = frozenset()
    top: int = 0
    stream: Stream | None = None

    def blocks_by(self, choice: Choice) -> frozenset[int]:
        """The blocks in it, where the recipe makes this of all of them.

        The recipe prefers the smaller factor, then the larger contribution, then the earlier block.
        """
        if not self.blocks and not self.top:
            return frozenset(range(self.count))
        preferred = sorted(
            range(self.count), key=lambda block: (choice.factors[block], -choice.shares[block])
        )
        return self.blocks | frozenset(preferred[: self.top])

    def places_by(
        self, choice: Choice, linears: Sequence[BlockLinear], names: Sequence[str]
    ) -> list[int]:
        """Which Linears are in it, by their places.

        Raises:
            LokrWeightingError: none is.
        """
        blocks = {names[block] for block in self.blocks_by(choice)}
        places = self._places(linears, blocks)
        if not places:
            raise LokrWeightingError(
                f"blocks = {self.asked!r}: no Linear is left to plan: in these blocks "
                f"{self.stream} tokens pass through none"
            )
        return places

    def known_part(
        self, linears: Sequence[BlockLinear], names: Sequence[str]
    ) -> list[BlockLinear] | None:
        """The Linears in it, where that is known before anything is measured."""
        if self.top:
            return None
        blocks = {names[block] for block in self.blocks or range(self.count)}
        return [linears[place] for place in self._places(linears, blocks)]

    def _places(self, linears: Sequence[BlockLinear], blocks: set[str]) -> list[int]:
        other = {"image": "text", "text": "image", None: ""}[self.stream]
        return [
            place
            for place, linear in enumerate(linears)
            if linear.block in blocks and (not other or linear.stream != other)
        ]


def read_selection(asked: str, names: Sequence[str]) -> Selection:
    """Read what blocks are asked for, e.g. "top:8", "3,5,10-20", "transformer_blocks.7", "image".

    Args:
        asked: parts separated by commas: a block's number, two with a hyphen for all from one to
            the other, a block's or a list's name, "top:N", and "image" or "text" for the Linears
            that this stream passes through.
        names: the model's blocks, in the order they run.

    Raises:
        LokrWeightingError: a part is none of these; says what there is.
    """
    lists = places_in_lists(names)
    blocks: set[int] = set()
    streams: list[Stream] = []
    top = 0
    for part in (each.strip() for each in asked.split(",")):
        if part in get_args(Stream):
            streams += [each for each in get_args(Stream) if each == part]
        elif match := re.fullmatch(r"top:(\d{1,9})", part):
            top = int(match[1])
            if not 1 <= top <= len(names):
                raise LokrWeightingError(
                    f"blocks = {shortened(asked)!r}: the model has {len(names)} blocks, so top:1 "
                    f"to top:{len(names)} can be asked for"
                )
        elif found := _blocks_called(part, names) or lists.get(part):
            blocks.update(found)
        else:
            raise LokrWeightingError(
                f"blocks = {shortened(asked)!r}: {shortened(part)!r} is no block of this model; "
                f"its blocks are {', '.join(ranges_of_lists(names))}. Write numbers (3,5,10-20), "
                f"names ({names[0]}), top:8 for the eight that the recipe prefers, or image or "
                "text for one stream's Linears"
            )
    if len(set(streams)) > 1:
        raise LokrWeightingError(
            f"blocks = {asked!r}: image and text together are all Linears; write one of them, or "
            "none"
        )
    return Selection(asked, len(names), frozenset(blocks), top, streams[0] if streams else None)


def _blocks_called(part: str, names: Sequence[str]) -> Sequence[int]:
    """The blocks that a number, two numbers or a name mean; none where it means nothing."""
    if part in names:
        return [names.index(part)]
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part)
    if match is None:
        return []
    first = int(match[1])
    last = int(match[2] or first)
    return range(first, last + 1) if first <= last < len(names) else []
