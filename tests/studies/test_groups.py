"""The rule that finds groups of blocks, on matrices whose groups are known."""

from typing import Any

import numpy as np
import pytest
import ruptures

from lokr_weighting.studies.groups import Grouping, divide, divisions

WIDTH = 512


def similarity(states: np.ndarray) -> np.ndarray:
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    return unit @ unit.T


def grouped(sizes: list[int], seed: int = 0) -> np.ndarray:
    """States around one direction for each group, drifting a little inside."""
    rng = np.random.default_rng(seed)
    found = []
    for size in sizes:
        centre = rng.normal(size=WIDTH)
        for _ in range(size):
            centre = centre + 0.05 * rng.normal(size=WIDTH)
            found.append(centre + 0.3 * rng.normal(size=WIDTH))
    return np.array(found)


def drifting(blocks: int, step: float, seed: int = 0) -> np.ndarray:
    """States that turn by about the same angle at every block."""
    rng = np.random.default_rng(seed)
    state, found = rng.normal(size=WIDTH), []
    for _ in range(blocks):
        state = state / np.linalg.norm(state) * WIDTH**0.5 + step * rng.normal(size=WIDTH)
        found.append(state)
    return np.array(found)


def found_in(states: np.ndarray, noise: float = 0.05) -> Grouping:
    rng = np.random.default_rng(1)
    draws = [similarity(states + noise * rng.normal(size=states.shape)) for _ in range(100)]
    return divide(similarity(states), np.stack(draws), "blocks", "image")


@pytest.mark.parametrize("seed", range(5))
def test_the_least_scatter_is_that_of_an_exhaustive_peer(seed: int) -> None:
    """Ruptures finds the change points of the states themselves, we of their cosines."""
    states = np.random.default_rng(seed).normal(size=(14, 6)).cumsum(axis=0)
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    left, ends = divisions(unit @ unit.T, 6)
    peer: Any = ruptures.KernelCPD(kernel="linear", min_size=1).fit(unit)
    for groups in range(1, 7):
        expected = peer.predict(n_bkps=groups - 1) if groups > 1 else [14]
        assert ends[groups - 1, :groups].tolist() == expected
        begins = [0, *expected]
        parts = [unit[a:b] for a, b in zip(begins, expected, strict=False)]
        scatter = sum(np.square(part - part.mean(axis=0)).sum() for part in parts)
        assert left[groups - 1] == pytest.approx(scatter)


@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ([2, 10, 3], ["first", "middle", "last"]),
        ([1, 10, 1], ["first", "middle", "last"]),
        ([6, 6], ["first", "last"]),
        ([3, 12, 18, 5], ["first", "middle 1", "middle 2", "last"]),
    ],
)
def test_groups_that_are_there_are_found(sizes: list[int], names: list[str]) -> None:
    found = found_in(grouped(sizes))
    ends = np.cumsum(sizes)
    assert [group.name for group in found.groups] == names
    assert [(g.first, g.last + 1) for g in found.groups] == [
        (end - size, end) for size, end in zip(sizes, ends, strict=True)
    ]
    assert all(group.kept > 0.9 for group in found.groups)
    assert found.same > 0.9
    assert found.explained > found.by_depth + 0.1
    alone = [group for group in found.groups if group.first == group.last]
    assert all(np.isnan(group.similarity) for group in alone)


@pytest.mark.parametrize("blocks", [12, 24, 38])
@pytest.mark.parametrize("step", [0.2, 0.5])
def test_a_list_that_only_drifts_has_no_groups(blocks: int, step: float) -> None:
    for seed in range(6):
        found = found_in(drifting(blocks, step, seed), noise=0.01)
        assert [group.name for group in found.groups] == ["all"]
        assert (found.groups[0].first, found.groups[0].last) == (0, blocks - 1)


def test_a_boundary_that_the_samples_leave_open_is_kept_less() -> None:
    """Block 5 lies between two groups; noise gives it now to one, now to the other."""
    states = grouped([5, 6])
    states = np.insert(states, 5, states[:5].mean(axis=0) + states[5:].mean(axis=0), axis=0)
    found = found_in(states, noise=0.3)
    first = found.groups[0]
    assert len(found.groups) == 2
    assert 0.2 < first.kept < 0.9
    assert first.near > 0.9


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_short_list_is_not_divided(blocks: int) -> None:
    found = found_in(grouped([1] * blocks))
    assert [(group.name, group.first, group.last) for group in found.groups] == [
        ("all", 0, blocks - 1)
    ]


def test_blocks_that_are_all_alike_are_one_group() -> None:
    alike = np.ones((8, 8))
    found = divide(alike, np.stack([alike] * 10), "blocks", "image")
    assert [group.name for group in found.groups] == ["all"]
