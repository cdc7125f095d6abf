"""What the recipe makes of every block: its contribution, whether it is critical, its factor."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lokr_weighting.models.blocks import BlockLinear, Stream
from lokr_weighting.plan.recipe import (
    Reason,
    Recipe,
    block_factors,
    contributions,
    critical_blocks,
)
from lokr_weighting.records.heatmaps import Heatmaps

ONE_STREAM: dict[Stream, dict[str, object]] = {
    "image": {"image_weight": 1.0, "text_weight": 0.0, "missing_text": "zero"},
    "text": {"image_weight": 0.0, "text_weight": 1.0, "missing_text": "predecessor"},
}
"""The settings that look at one stream alone."""


@dataclass(frozen=True)
class Choice:
    """What the recipe makes of the blocks.

    Attributes:
        shares: contributions, (blocks,), each in [0, 1].
        critical: the critical blocks and why each is one.
        factors: the blocks' factors, (blocks,).
        of_stream: what it makes of them for the Linears of one stream, where that is another.
    """

    shares: np.ndarray
    critical: dict[int, tuple[Reason, ...]]
    factors: list[int]
    of_stream: Mapping[Stream, "Choice"] = field(default_factory=dict)

    def of(self, linear: BlockLinear) -> "Choice":
        """What counts for one Linear."""
        return self if linear.stream is None else self.of_stream.get(linear.stream, self)


def choice_by_distance(heatmaps: Heatmaps, recipe: Recipe) -> Choice:
    """What the recipe makes of distances.

    Raises:
        LokrWeightingError: all blocks come out the same, or a block given by hand does not exist.
    """
    together = _by_streams(heatmaps, recipe, ("image", "text"))
    if recipe.name != "streams":
        return together
    measured: dict[Stream, np.ndarray] = {"image": heatmaps.has_image, "text": heatmaps.has_text}
    apart: dict[Stream, Choice] = {
        stream: _by_streams(heatmaps, recipe.model_copy(update=ONE_STREAM[stream]), (stream,))
        for stream, blocks in measured.items()
        if blocks.sum() > 1  # one alone has nothing to be weighed against in its own stream
    }
    return Choice(together.shares, together.critical, together.factors, apart)


def choice_of(shares: np.ndarray, heatmaps: Heatmaps, recipe: Recipe) -> Choice:
    """What the recipe makes of contributions that are given, (blocks,), each in [0, 1].

    Only blocks that are given by hand are critical then.
    """
    by_hand = not isinstance(recipe.critical, str)
    critical = critical_blocks(heatmaps, recipe) if by_hand else {}
    return Choice(shares, critical, block_factors(shares, critical, recipe))


def _by_streams(heatmaps: Heatmaps, recipe: Recipe, streams: tuple[Stream, ...]) -> Choice:
    """The choice by these streams, and by the blocks that are critical in them."""
    shares = contributions(heatmaps, recipe)
    critical = {
        block: reasons
        for block, reasons in critical_blocks(heatmaps, recipe).items()
        if {*reasons} & {*streams, "given"}
    }
    return Choice(shares, critical, block_factors(shares, critical, recipe))
