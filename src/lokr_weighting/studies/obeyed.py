"""Whether captions are still obeyed, read by what the user's own images look like.

Where a folder has several images of every caption, the nearest of them says which caption an image
shows. How well that works is measured on the same images, each held out in turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lokr_weighting.errors import LokrWeightingError

SIDE = 8  # pixels of what is compared
FEWEST = 4  # images of each caption
USABLE = 0.9  # share of held-out images that are read right


@dataclass(frozen=True)
class Obeyed:
    """How many images show their caption.

    Attributes:
        right: so many.
        drawn: of so many.
    """

    right: int
    drawn: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        z, n = 1.96, self.drawn
        share = self.right / n
        middle = share + z**2 / (2 * n)
        half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        low, high = ((middle + side * half) / (1 + z**2 / n) for side in (-1, 1))
        return float(low), float(high)


class CaptionReader:
    """Reads which of a folder's captions an image shows, by its nearest neighbour.

    Args:
        images: the folder's images.
        captions: each one's caption.

    Attributes:
        accuracy: the share of images that all others read right.

    Raises:
        LokrWeightingError: too few images of a caption, or too many are read wrong.
    """

    def __init__(self, images: Sequence[Image.Image], captions: Sequence[str]) -> None:
        self._captions = np.array(captions)
        names, counts = np.unique(self._captions, return_counts=True)
        if len(names) < 2 or counts.min() < FEWEST:
            raise LokrWeightingError(
                f"captions cannot be read from images: that takes two captions or more, and "
                f"{FEWEST} images of each; here are {len(names)} captions, {counts.min()} images "
                "of the rarest"
            )
        self._pixels = _pixels(images)
        apart = _apart(self._pixels, self._pixels)
        np.fill_diagonal(apart, np.inf)
        read = self._captions[apart.argmin(axis=1)]
        self.accuracy = float(np.mean(read == self._captions))
        if self.accuracy < USABLE:
            raise LokrWeightingError(
                f"captions cannot be read from images: of the folder's own, each held out in turn, "
                f"{self.accuracy:.0%} are read right, and {USABLE:.0%} are needed"
            )

    def obeyed(self, images: Sequence[Image.Image], captions: Sequence[str]) -> Obeyed:
        """How many of these images show the caption they were drawn from."""
        nearest = _apart(_pixels(images), self._pixels).argmin(axis=1)
        right = self._captions[nearest] == np.array(captions)
        return Obeyed(int(right.sum()), len(right))


def _pixels(images: Sequence[Any]) -> np.ndarray:
    """Small grey images as rows, each with mean 0 and length 1."""
    size = (SIDE, SIDE)
    rows = np.stack(
        [np.asarray(each.convert("L").resize(size, Image.Resampling.BOX), float).ravel()
         for each in images]
    )
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far each row of a is from each of b: 1 less their correlation."""
    return 1 - a @ b.T
