from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lokr_weighting_simpletuner.samples import _image

from lokr_weighting import LokrWeightingError


@pytest.mark.slow
def test_images_are_drawn_as_often_as_training_comes_to_them(rooms: dict[str, Any]) -> None:
    drawn = rooms["images"]
    # in batches of two 12 + 4 + 2 places: a bucket's last batch is filled from the bucket itself
    for name, places, images in (("square", 12, 12), ("wide", 4, 3), ("tall", 2, 1)):
        expected = 8000 * places / 18 / images
        numbers = [count for image, count in drawn.items() if image.startswith(name)]
        assert len(numbers) == images
        assert all(abs(number - expected) < 4 * expected**0.5 for number in numbers)


@pytest.mark.slow
def test_a_model_that_predicts_noise_is_noised_by_its_own_schedule(rooms: dict[str, Any]) -> None:
    found = rooms["noised"]
    # the whole timestep below, so that the record's bin is the one that was run
    assert found["given"] == [int(found["timestep"] * 1000)]
    assert found["off"] < 1e-6


def test_a_process_without_any_image_is_told_to_be_one_of_fewer() -> None:
    backend = SimpleNamespace(aspect_ratio_bucket_indices={"1.0": []})
    sampler = SimpleNamespace(
        metadata_backend=backend, accelerator=SimpleNamespace(process_index=3)
    )
    with pytest.raises(LokrWeightingError, match="'mine' has no image in process 3: use fewer"):
        _image("mine", sampler, np.random.default_rng(0))
