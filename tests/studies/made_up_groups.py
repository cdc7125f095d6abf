"""Made-up groups of blocks, and an ablation of them whose costs are known."""

from collections.abc import Callable

import numpy as np

from lokr_weighting.records.average import bin_of
from lokr_weighting.studies.ablation import BINS, Ablation, Change, Seen
from lokr_weighting.studies.groups import Group, Grouping
from lokr_weighting.studies.painters import group_strategies, spans_of
from lokr_weighting.studies.similarity import Similarity
from lokr_weighting.studies.strategies import Strategy

PATH = "blocks"
BLOCKS = tuple(f"{PATH}.{i}" for i in range(12))
ENDS = {"first": (0, 2), "middle 1": (3, 5), "middle 2": (6, 9), "last": (10, 11)}
SAMPLES = 40


def grouping(stream: str = "image", ends: dict[str, tuple[int, int]] = ENDS) -> Grouping:
    """The groups of a list."""
    groups = [Group(name, *each, 0.9, 1, 1) for name, each in ends.items()]
    return Grouping(PATH, stream, tuple(groups), 0.8, 0.7, 0.01, 1)


def similarity() -> Similarity:
    """A similarity that has these groups, and a text stream that is not divided."""
    alike = np.full((12, 12), 0.5)
    undivided = grouping("text", {"all": (0, 10)})
    both = (grouping(), undivided)
    return Similarity("made up", BLOCKS, SAMPLES, alike, alike, None, alike, both)


def nothing_matters(_strategy: Strategy, timesteps: np.ndarray) -> np.ndarray:
    """Every strategy costs a tenth of the loss."""
    return np.full(len(timesteps), 0.1)


def grouped(
    cost: Callable[[Strategy, np.ndarray], np.ndarray] = nothing_matters, noise: float = 0.01
) -> Ablation:
    """An ablation of the groups in which a strategy costs so much at each sample's timestep."""
    rng = np.random.default_rng(0)
    timesteps = (np.arange(SAMPLES) + 0.5) / SAMPLES
    bins = bin_of(timesteps, BINS)
    spans = spans_of([grouping()], BLOCKS)
    changes = []
    for strategy in group_strategies(spans, BLOCKS):
        each = cost(strategy, timesteps) + rng.normal(0, noise, SAMPLES)
        by_bin = np.array([each[bins == number].mean() for number in range(BINS)])
        change = float(each.mean())
        changes.append(Change(strategy, change, 0.01, by_bin, np.full(BINS, 0.01), each))
    heatmap = rng.uniform(0.1, 0.2, (BINS, 12))
    text = heatmap.copy()
    text[:, -1] = np.nan
    return Ablation(
        "made up",
        SAMPLES,
        BLOCKS,
        1.0,
        tuple(changes),
        heatmap.mean(axis=0),
        text.mean(axis=0),
        spans=tuple(spans),
        samples_seen=Seen(timesteps, np.ones(SAMPLES), heatmap, text),
    )
