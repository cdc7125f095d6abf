"""What it costs to run the blocks otherwise: the training loss on the user's own data.

Every strategy sees the same samples with the same noise, so a change is a mean of paired
differences, with its standard error within timestep bins.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from lokr_weighting.files import nulls, read_model, write_json
from lokr_weighting.studies.strategies import Kind, Strategy

BINS = 10


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
        image: each block's mean distance in the image stream, (blocks,), NaN where a block has text
            alone.
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

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values, as in `ablation.json`."""
        return AblationFile(
            model=self.model,
            samples=self.samples,
            blocks=list(self.blocks),
            loss=self.loss,
            image=nulls(self.image),
            text=nulls(self.text),
            changes=[
                ChangeEntry(
                    **asdict(each.strategy),
                    change=each.change,
                    error=each.error,
                    by_bin=each.by_bin.tolist(),
                    bin_error=each.bin_error.tolist(),
                )
                for each in self.changes
            ],
        ).model_dump(mode="json")


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
    """`ablation.json`; `image` and `text` are null where a block does not have that stream."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    model: str
    samples: int
    blocks: list[str]
    loss: float
    image: list[float | None]
    text: list[float | None]
    changes: list[ChangeEntry]

    @model_validator(mode="after")
    def _alike(self) -> Self:
        for name, values in (("image", self.image), ("text", self.text)):
            if len(values) != len(self.blocks):
                raise ValueError(
                    f"{name} has {len(values)} blocks, blocks names {len(self.blocks)}"
                )
        return self


def write_ablation(path: Path, ablation: Ablation) -> None:
    """Write an ablation as JSON."""
    write_json(path, ablation.as_json())


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
        np.array(file.image, dtype=float),
        np.array(file.text, dtype=float),
    )
