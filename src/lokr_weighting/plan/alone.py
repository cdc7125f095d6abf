"""Blocks that have one stream alone, and what a block without text is set beside."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lokr_weighting.models.blocks import places_in_lists


@dataclass(frozen=True)
class Alone:
    """Which blocks have one stream alone: refiners, text blocks, models without a text stream.

    A block without text in a list where others have both streams is not among them: it hands no
    text on, as SD3's last does, and the recipe's `missing_text` says what it gets.

    Attributes:
        image: blocks of image alone in lists where no block has both streams, (blocks,) of bool.
        text: blocks of text alone, (blocks,) of bool.
        beside: each other block of image alone -> the block with both streams before it, or where
            there is none the first with both.
    """

    image: np.ndarray
    text: np.ndarray
    beside: dict[int, int]


def blocks_alone(
    has_image: np.ndarray, has_text: np.ndarray, names: Sequence[str] | None = None
) -> Alone:
    """Which blocks have one stream alone.

    Args:
        has_image: which blocks have an image distance, (blocks,) of bool.
        has_text: which blocks have a text distance, (blocks,) of bool.
        names: the blocks' names, which tell their lists; None: not known, all are one list.
    """
    both = np.flatnonzero(has_image & has_text).tolist()
    lists = [range(len(has_image))] if names is None else places_in_lists(names).values()
    image, beside = np.zeros(len(has_image), dtype=bool), {}
    for places in lists:
        without = [place for place in places if not has_text[place]]
        if set(both).isdisjoint(places):
            image[without] = True
        else:
            for place in without:
                beside[place] = max((other for other in both if other < place), default=both[0])
    return Alone(image, has_text & ~has_image, beside)
