import numpy as np
import pytest

from lokr_weighting.data.samples import crop_rng, draw, stratified_timestep

CAPTIONS = [1, 3, 2, 5]


def test_a_sample_depends_on_the_seed_and_its_number_alone() -> None:
    forward = [draw(7, i, 10, CAPTIONS, crops=3) for i in range(50)]
    backward = [draw(7, i, 10, CAPTIONS, crops=3) for i in reversed(range(50))]
    assert forward == backward[::-1]
    assert forward != [draw(8, i, 10, CAPTIONS, crops=3) for i in range(50)]


@pytest.mark.parametrize("bins", [1, 3, 10])
def test_every_round_visits_every_bin_once(bins: int) -> None:
    for place in range(20):
        times = [stratified_timestep(0, place * bins + i, bins) for i in range(bins)]
        assert sorted(int(t * bins) for t in times) == list(range(bins))
        assert all(0 < t < 1 for t in times)


def test_timesteps_images_crops_and_captions_are_uniform() -> None:
    samples = [draw(1, i, 10, CAPTIONS, crops=2) for i in range(4000)]
    assert np.mean([s.timestep for s in samples]) == pytest.approx(0.5, abs=0.01)
    for image, captions in enumerate(CAPTIONS):
        of_image = [s for s in samples if s.image == image]
        assert len(of_image) == pytest.approx(1000, abs=120)
        counts = np.bincount([s.caption for s in of_image], minlength=captions)
        assert counts == pytest.approx(len(of_image) / captions, rel=0.25)
    assert np.mean([s.crop for s in samples]) == pytest.approx(0.5, abs=0.04)
    assert len({s.noise_seed for s in samples}) == 4000


def test_another_attempt_draws_another_image_at_the_same_timestep() -> None:
    tries = [draw(1, 5, 10, [1] * 100, attempt=attempt) for attempt in range(20)]
    assert len({s.timestep for s in tries}) == 1
    assert len({s.image for s in tries}) > 10


def test_every_crop_has_a_place_of_its_own() -> None:
    places = {crop_rng(0, image, crop).random() for image in range(5) for crop in range(5)}
    assert len(places) == 25
    assert crop_rng(0, 3, 1).random() == crop_rng(0, 3, 1).random()
