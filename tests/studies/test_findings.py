"""The study's observations are found by rules that know no model, and nothing where nothing is."""

import numpy as np
import pytest

from lokr_weighting import Heatmaps, Records, load_reference
from lokr_weighting.studies.findings import Finding, findings_of

GRADIENTS = {11, 12, *range(21, 25), *range(26, 31), 33, 34, 36}
"""Blocks whose text distance rises towards noise, in the SD3.5-Large study's words."""


@pytest.fixture(scope="module")
def found() -> list[Finding]:
    return findings_of(load_reference("sd3.5-large"))


def blocks(found: list[Finding], kind: str, stream: str | None) -> set[int]:
    own = [each for each in found if each.kind == kind and each.stream == stream]
    return {block for each in own for block in each.blocks}


def test_the_studys_observations_are_found_on_its_heatmaps(found: list[Finding]) -> None:
    assert blocks(found, "critical", "image") == {0, 35}
    assert blocks(found, "critical", "text") == {0, 31}
    assert 7 in blocks(found, "idle", None)
    assert blocks(found, "gradient", "text") >= GRADIENTS
    assert blocks(found, "gradient", "image") >= {33, 34}
    assert blocks(found, "joint", None) >= {33, 34}
    islands = {(each.stream, each.blocks[0], each.blocks[-1]) for each in found if each.p}
    assert ("text", 19, 31) in islands


def test_where_the_rules_disagree_with_the_study_is_known(found: list[Finding]) -> None:
    # docs/findings.md says why
    assert blocks(found, "both ends", "image") >= {13, 18, 19, 36}
    assert 2 not in blocks(found, "both ends", "image")
    assert blocks(found, "island", "image") >= set(range(33, 38))
    assert blocks(found, "idle", None) == {7, 8, 9}


def test_shuffled_timesteps_have_no_gradients_and_no_ends() -> None:
    reference, rng = load_reference("sd3.5-large"), np.random.default_rng(1)
    kinds = [
        {each.kind for each in findings_of(Heatmaps(image, text))}
        for image, text in (
            (rng.permuted(reference.image, axis=0), rng.permuted(reference.text, axis=0))
            for _ in range(10)
        )
    ]
    false = [found & {"gradient", "both ends", "joint"} for found in kinds]
    # each of ten has one in twenty; benchmarks/false_findings.py counts hundreds
    assert sum(map(bool, false)) <= 3


def test_shuffled_blocks_have_no_islands() -> None:
    reference, rng = load_reference("sd3.5-large"), np.random.default_rng(1)
    false = 0
    for _ in range(10):
        order = np.append(rng.permutation(37), 37)
        shuffled = Heatmaps(reference.image[:, order], reference.text[:, order])
        false += any(each.kind == "island" for each in findings_of(shuffled))
    assert false <= 3


def made(samples: int = 200, seed: int = 0) -> Records:
    """Distances of 20 blocks: text works in 5 to 10, image 12 rises, image 3 has two ends."""
    rng = np.random.default_rng(seed)
    times = (rng.permutation(samples) % 10 + rng.random(samples)) / 10
    image, text = np.full((2, samples, 20), 0.1)
    text[:, 5:11] = 0.3
    image[:, 12] *= 0.7 + 0.6 * times
    text[:, 12] *= 0.7 + 0.6 * times
    image[:, 3] *= 0.8 + 2 * (times - 0.5) ** 2
    image[:, 15], text[:, 15] = 0.02, 0.02
    text[:, 19] = np.nan
    noise = rng.lognormal(0, 0.15, (2, samples, 20))
    return Records(times, image * noise[0], text * noise[1])


def test_what_was_put_into_samples_is_found_with_its_certainty() -> None:
    found = findings_of(made())
    assert blocks(found, "gradient", "image") == {12}
    assert blocks(found, "joint", None) == {12}
    assert blocks(found, "both ends", "image") == {3}
    assert blocks(found, "idle", None) == {15}
    assert blocks(found, "island", "text") == set(range(5, 11))
    for each in found:
        assert each.kept is not None
        assert 0 <= each.kept <= 1
        if each.kind not in ("critical", "idle"):
            assert each.p is not None
            assert each.p <= 0.05
    (island,) = [each for each in found if each.kind == "island" and each.stream == "text"]
    assert island.kept == 1
    assert island.size == pytest.approx(3, rel=0.1)


def test_a_measurement_without_text_has_findings_of_the_image_alone() -> None:
    records = made()
    alone = Records(records.timesteps, records.image, np.full_like(records.text, np.nan))
    found = findings_of(alone)
    assert {each.stream for each in found} <= {"image", None}
    assert blocks(found, "gradient", "image") == {12}
    assert not blocks(found, "joint", None)


def test_findings_do_not_depend_on_the_numbers_of_blocks() -> None:
    """The same distances in another order of blocks give the same findings in that order."""
    records = made()
    order = np.arange(20)[::-1]
    turned = Records(records.timesteps, records.image[:, order], records.text[:, order])
    there, here = findings_of(turned), findings_of(records)
    for kind in ("gradient", "both ends"):
        assert {19 - block for block in blocks(there, kind, "image")} == blocks(here, kind, "image")


def test_blocks_of_one_stream_alone_are_found_by_the_stream_they_have() -> None:
    records = made()
    records.image[:, 15] = np.nan
    records.text[:, 16] = np.nan
    records.image[:, 16] = records.image[:, 14] / 6
    found = findings_of(records)
    assert blocks(found, "idle", "text") == {15}
    assert blocks(found, "idle", "image") == {16}
    assert blocks(found, "gradient", "image") == {12}
    assert all(np.isfinite(each.size) for each in found)
