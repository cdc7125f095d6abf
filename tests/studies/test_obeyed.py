from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lokr_weighting import Job, LokrWeightingError
from lokr_weighting.studies.ablation import Obeyed
from lokr_weighting.studies.obeyed import CaptionReader, captions_obeyed, reader_of
from lokr_weighting.studies.strategies import Strategy
from tests.inputs import write_digits

KINDS = ("left", "right", "top", "bottom")


def drawn(kind: str, seed: int, noise: float = 20) -> Image.Image:
    """An image with one bright half, and noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(60, noise, (40, 48))
    half = {
        "left": np.s_[:, :24],
        "right": np.s_[:, 24:],
        "top": np.s_[:20],
        "bottom": np.s_[20:],
    }[kind]
    pixels[half] += 120
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")


def folder(each: int = 6, noise: float = 20) -> tuple[list[Image.Image], list[str]]:
    names = [kind for kind in KINDS for _ in range(each)]
    return [drawn(kind, seed, noise) for seed, kind in enumerate(names)], names


def test_an_image_obeys_where_it_looks_most_like_its_captions_images() -> None:
    reader = CaptionReader(*folder())
    assert reader.accuracy == 1
    images = [drawn("left", 100), drawn("top", 101), drawn("top", 102)]
    assert reader.obeyed(images, ["left", "right", "top"]) == Obeyed(2, 3)
    strategy = Strategy("skip", "blocks", 0, 0)
    found = captions_obeyed(reader, [strategy], [images[:1], images[1:2]], ["left"])
    assert (found.plain, found.by_strategy) == (Obeyed(1, 1), ((strategy, Obeyed(0, 1)),))


def test_captions_that_cannot_be_read_are_not_guessed() -> None:
    images, names = folder()
    with pytest.raises(LokrWeightingError, match="here are 1 captions, 6 images"):
        CaptionReader(images[:6], names[:6])
    with pytest.raises(LokrWeightingError, match="here are 24 captions, 1 images of the rarest"):
        CaptionReader(images, [f"{name} {i}" for i, name in enumerate(names)])
    shuffled = np.random.default_rng(0).permutation(names).tolist()
    with pytest.raises(LokrWeightingError, match="are read right, and 90% are needed"):
        CaptionReader(images, shuffled)
    with pytest.raises(LokrWeightingError, match="here are 0 captions, 0 images"):
        CaptionReader([], [])


def test_digits_can_be_read(tmp_path: Path) -> None:
    job = Job("digits", write_digits(tmp_path / "digits", 200))
    assert reader_of(job).accuracy > 0.9


def test_the_interval_is_wilsons() -> None:
    # Wilson's for 8 of 10, as published tables have it
    assert Obeyed(8, 10).interval == pytest.approx((0.490, 0.943), abs=1e-3)
    assert Obeyed(0, 10).interval == pytest.approx((0, 0.278), abs=1e-3)
