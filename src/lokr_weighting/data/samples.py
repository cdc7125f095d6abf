"""Drawing samples: every sample is a function of the seed and its number alone.

So it does not matter in which order, in which process or after which interruption it is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUND, SAMPLE, CROP, TOKENS = range(4)
"""What a random stream is for: keeps the streams of one seed apart."""


@dataclass(frozen=True)
class Sample:
    """One (image, crop, caption, timestep, noise).

    Attributes:
        index: the sample's number, from 0.
        timestep: in (0, 1).
        image: the image's number.
        crop: which of the image's crops.
        caption: which of the image's captions.
        noise_seed: decides the noise.
    """

    index: int
    timestep: float
    image: int
    crop: int
    caption: int
    noise_seed: int


def stratified_timestep(seed: int, index: int, bins: int) -> float:
    """The timestep of a sample: uniform in [0, 1], every bin once in each round of `bins` samples.

    Args:
        seed: decides everything.
        index: the sample's number.
        bins: equal bins of [0, 1].
    """
    place, within = divmod(index, bins)
    order = np.random.default_rng([seed, ROUND, place]).permutation(bins)
    inside = np.random.default_rng([seed, SAMPLE, index]).uniform(0.0005, 0.9995)
    return float((order[within] + inside) / bins)


def draw(
    seed: int,
    index: int,
    bins: int,
    captions: Sequence[int],
    *,
    crops: int = 1,
    attempt: int = 0,
) -> Sample:
    """Draw a sample: image, crop and caption independently and uniformly, the timestep stratified.

    Independent draws are what makes the bootstrap over samples right: the means it resamples are
    over these images, and its intervals cover the value that ever more samples would reach.

    Args:
        seed: decides everything.
        index: the sample's number.
        bins: equal bins of [0, 1] for the timestep.
        captions: how many captions each image has, (images,).
        crops: how many crops each image has.
        attempt: another draw for the same sample, where the image before turned out broken.
    """
    rng = np.random.default_rng([seed, SAMPLE, index, 1, attempt])
    image = int(rng.integers(len(captions)))
    return Sample(
        index=index,
        timestep=stratified_timestep(seed, index, bins),
        image=image,
        crop=int(rng.integers(crops)),
        caption=int(rng.integers(captions[image])),
        noise_seed=int(rng.integers(2**62)),
    )


def noise_seed(seed: int, index: int) -> int:
    """What decides the noise of a sample whose image is not drawn here, but comes in a batch."""
    return int(np.random.default_rng([seed, SAMPLE, index, 2]).integers(2**62))


def crop_rng(seed: int, image: int, crop: int) -> np.random.Generator:
    """The random generator that places one crop of one image."""
    return np.random.default_rng([seed, CROP, image, crop])


def token_rng(index: int) -> np.random.Generator:
    """The random generator that chooses which tokens of a sample are compared between blocks."""
    return np.random.default_rng([0, TOKENS, index])
