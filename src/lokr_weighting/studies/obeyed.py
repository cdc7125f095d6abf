"""Whether captions are still obeyed, read by what the user's own images look like.

Where a folder has several images of every caption, the nearest of them says which caption an image
shows. How well that works is measured on the same images, each held out in turn.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image

from lokr_weighting.data.folder import find_images
from lokr_weighting.data.images import BrokenImage, open_image
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.job import Job
from lokr_weighting.studies.ablation import Captions, Obeyed
from lokr_weighting.studies.strategies import Strategy

SIDE = 8  # pixels of what is compared
FEWEST = 4  # images of each caption
USABLE = 0.9  # share of held-out images that are read right
MOST = 5000  # images of the folder that are compared with


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
        rarest = counts.min(initial=len(captions))
        if len(names) < 2 or rarest < FEWEST:
            raise LokrWeightingError(
                "captions cannot be read from images: that takes two captions or more, and "
                f"{FEWEST} images of each; here are {len(names)} captions, {rarest} images of the "
                "rarest"
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


def reader_of(job: Job) -> CaptionReader:
    """A reader of a job's own images; of an image with several captions, by its first.

    Args:
        job: its data, and where captions are.

    Raises:
        LokrWeightingError: as `CaptionReader`, or there are no images.
    """
    found = find_images(job.data, job.captions)
    images, captions = [], []
    for item in found.items[:MOST]:
        with suppress(BrokenImage):
            images.append(_small(open_image(found.root / item.name)))
            captions.append(item.captions[0])
    return CaptionReader(images, captions)


def captions_obeyed(
    reader: CaptionReader,
    strategies: Sequence[Strategy],
    images: Sequence[Sequence[Any]],
    prompts: Sequence[str],
) -> Captions:
    """Read what was drawn.

    Args:
        reader: the reader.
        strategies: the strategies.
        images: as `images_of` draws them: the model as it is first, then each strategy.
        prompts: what each image of a row was drawn from.
    """
    plain, *others = (reader.obeyed(row, prompts) for row in images)
    return Captions(reader.accuracy, plain, tuple(zip(strategies, others, strict=True)))


def _small(image: Image.Image) -> Image.Image:
    """As it is compared; thousands of them are kept."""
    return image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)


def _pixels(images: Sequence[Any]) -> np.ndarray:
    """Small grey images as rows, each with mean 0 and length 1."""
    rows = np.stack([np.asarray(_small(each), dtype=float).ravel() for each in images])
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How far each row of a is from each of b: 1 less their correlation."""
    return 1 - a @ b.T
