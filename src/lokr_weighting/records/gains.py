"""Gains: how much of the loss's gradient an adapter of each split can follow, Linear by Linear."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lokr_weighting.files import read_model, write_json

GAINS = "gains.json"
"""The file's name in a calibration's folder."""


@dataclass(frozen=True)
class Gains:
    """What gradients say of every Linear.

    Attributes:
        samples: how many samples were run.
        by_split: a Linear's name -> the gain of each of its splits, the finest first: the squared
            norm of the mean gradient's part that the split can follow, as one half of the samples
            finds it and the other confirms it. Noise alone gives 0 on average, and may give less.
        energy: a Linear's name -> the squared norm of the mean gradient of half of the samples, on
            average over both: signal and noise together.
    """

    samples: int
    by_split: Mapping[str, tuple[float, ...]]
    energy: Mapping[str, float]

    def __repr__(self) -> str:
        return f"Gains({self.samples} samples, {len(self.by_split)} modules)"

    @property
    def norms(self) -> dict[str, float]:
        """A Linear's name -> its mean gradient's squared norm, without what noise adds to it.

        The finest split, with one number for w1, can follow every gradient.
        """
        return {name: gains[0] for name, gains in self.by_split.items()}


class GainsFile(BaseModel):
    """`gains.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    settings: dict[str, Any]
    samples: int
    by_split: dict[str, tuple[float, ...]]
    energy: dict[str, float]

    @property
    def gains(self) -> Gains:
        """The gains alone."""
        return Gains(self.samples, self.by_split, self.energy)


def write_gains(path: Path, gains: Gains, settings: Mapping[str, Any]) -> None:
    """Write gains, and what they are of, as JSON."""
    file = GainsFile(
        settings=dict(settings),
        samples=gains.samples,
        by_split=dict(gains.by_split),
        energy=dict(gains.energy),
    )
    write_json(path, file.model_dump(mode="json"))


def read_gains(path: Path) -> GainsFile:
    """Read a file of gains.

    Raises:
        LokrWeightingError: missing, no JSON, or no file of gains.
    """
    return read_model(path, GainsFile)
