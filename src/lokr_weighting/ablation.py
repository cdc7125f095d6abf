"""What it costs to run the blocks otherwise: the training loss on the user's own data.

Every strategy sees the same samples with the same noise, so a change is a mean of paired
differences, with its standard error within timestep bins.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from lokr_weighting.files import read_model, write_json
from lokr_weighting.heatmaps import nulls
from lokr_weighting.strategies import Kind, Strategy

BINS = 10
LEVEL = 1.96  # standard errors of a 95 % interval
FEWEST = 4  # blocks, for a rank correlation's interval


@dataclass(frozen=True)
class Change:
    """What one strategy does to the loss.

    Attributes:
        strategy: the strategy.
        change: the mean change of the loss.
        error: its standard error.
        by_bin: the mean change in each timestep bin, (bins,).
        bin_error: their standard errors, (bins,).
    """

    strategy: Strategy
    change: float
    error: float
    by_bin: np.ndarray
    bin_error: np.ndarray


@dataclass(frozen=True)
class Ablation:
    """The loss as the model is, and what each strategy does to it.

    Attributes:
        model: the model's name.
        samples: how many samples every strategy saw.
        blocks: the model's blocks.
        loss: the mean loss as it is.
        changes: one for each strategy.
        image: each block's mean distance in the image stream, (blocks,).
        text: the same in the text stream, NaN where a block hands no text on.
    """

    model: str
    samples: int
    blocks: tuple[str, ...]
    loss: float
    changes: tuple[Change, ...]
    image: np.ndarray
    text: np.ndarray

    @property
    def damage(self) -> dict[str, Change]:
        """What skipping a block alone does, by the block's name."""
        return {
            f"{each.strategy.path}.{each.strategy.first}": each
            for each in self.changes
            if each.strategy.kind == "skip" and each.strategy.first == each.strategy.last
        }


class ChangeEntry(BaseModel):
    """One strategy in the file: a `Strategy`, and its `Change`."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    path: str
    first: int
    last: int
    by: int | None = None
    change: float
    error: float
    by_bin: list[float]
    bin_error: list[float]


class AblationFile(BaseModel):
    """`ablation.json`; `text` is null where a block hands no text on."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    model: str
    samples: int
    blocks: list[str]
    loss: float
    image: list[float]
    text: list[float | None]
    changes: list[ChangeEntry]


def write_ablation(path: Path, found: Ablation) -> None:
    """Write an ablation as JSON."""
    write_json(path, file_of(found).model_dump(mode="json"))


def read_ablation(path: Path) -> Ablation:
    """Read an ablation's file.

    Raises:
        LokrWeightingError: missing, no JSON, or not an ablation's file.
    """
    file = read_model(path, AblationFile)
    changes = (
        Change(
            Strategy(each.kind, each.path, each.first, each.last, each.by),
            each.change,
            each.error,
            np.array(each.by_bin),
            np.array(each.bin_error),
        )
        for each in file.changes
    )
    return Ablation(
        file.model,
        file.samples,
        tuple(file.blocks),
        file.loss,
        tuple(changes),
        np.array(file.image),
        np.array(file.text, dtype=float),
    )


def file_of(found: Ablation) -> AblationFile:
    """The file's content."""
    return AblationFile(
        model=found.model,
        samples=found.samples,
        blocks=list(found.blocks),
        loss=found.loss,
        image=found.image.tolist(),
        text=nulls(found.text),
        changes=[
            ChangeEntry(
                **asdict(each.strategy),
                change=each.change,
                error=each.error,
                by_bin=each.by_bin.tolist(),
                bin_error=each.bin_error.tolist(),
            )
            for each in found.changes
        ],
    )


@dataclass(frozen=True)
class Rank:
    """A rank correlation between a stream's distance and the damage of skipping each block.

    Attributes:
        stream: "image" or "text".
        blocks: over how many blocks.
        rho: Spearman's rank correlation.
        low: the lower end of its 95 % interval.
        high: the upper end.
    """

    stream: str
    blocks: int
    rho: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What it says, in words."""
        if self.low > 0:
            said = "predicted damage: blocks that turn it more are missed more"
        elif self.high < 0:
            said = "predicted damage the wrong way: blocks that turn it more are missed less"
        else:
            said = "did not predict damage beyond chance"
        return (
            f"On this model and these data, the {self.stream} stream's distance {said} (rank "
            f"correlation {self.rho:+.2f}, 95 % interval {self.low:+.2f} to {self.high:+.2f}, "
            f"{self.blocks} blocks)."
        )


def ranks_of_skipping(ablation: Ablation) -> list[Rank]:
    """Whether distance predicted what skipping each block costs, for each stream.

    The interval is Fisher's with the standard error of Bonett and Wright, "Sample size requirements
    for estimating Pearson, Kendall and Spearman correlations", 2000.
    """
    damage = ablation.damage
    found = []
    for stream, distances in (("image", ablation.image), ("text", ablation.text)):
        pairs = [
            (distance, damage[name].change)
            for name, distance in zip(ablation.blocks, distances, strict=True)
            if name in damage and not np.isnan(distance)
        ]
        if len(pairs) >= FEWEST:
            found.append(_rank(stream, np.array(pairs)))
    return found


def _rank(stream: str, pairs: np.ndarray) -> Rank:
    places: Any = pairs.argsort(axis=0).argsort(axis=0)
    rho = float(np.corrcoef(places.T)[0][1])
    error = np.sqrt((1 + rho**2 / 2) / (len(pairs) - 3))
    middle = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    low, high = np.tanh([middle - LEVEL * error, middle + LEVEL * error])
    return Rank(stream, len(pairs), rho, float(low), float(high))
