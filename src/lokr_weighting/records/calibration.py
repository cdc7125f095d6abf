"""A calibration: what was measured of one model on one set of images, and how well."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from lokr_weighting.parsing import shortened
from lokr_weighting.records.average import heatmaps_of
from lokr_weighting.records.gains import Gains
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.record import NotFinite, Record, Records, Tokens, stack_records
from lokr_weighting.records.seals import Seal

Settings = Mapping[str, Any]
"""What a calibration is of: model, dataset, seed, ...; JSON values, equal or not the same."""
ADDED = ("pipeline",)
"""Settings that calibrations of earlier versions do not have; they are resumed without them."""


@dataclass(frozen=True)
class Calibration:
    """Everything measured so far, in the order of the samples.

    Attributes:
        settings: what it is of.
        blocks: the model's blocks, in the order of the records' columns.
        records: the samples.
        not_finite: samples left out because a block gave NaN or Inf.
        folder: where it is kept, if it is.
        skipped: images left out -> why.
        versions: the packages that it was measured with -> their versions.
        gains: what gradients say, where they were measured.
    """

    settings: Settings
    blocks: tuple[str, ...]
    records: tuple[Record, ...]
    not_finite: tuple[NotFinite, ...] = ()
    folder: Path | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    gains: Gains | None = None

    def __repr__(self) -> str:
        return (
            f"Calibration(model={self.model!r}, {len(self.records)} samples, "
            f"{len(self.blocks)} blocks, not_finite={len(self.not_finite)}, "
            f"folder={None if self.folder is None else str(self.folder)!r})"
        )

    def stacked(self, tokens: Tokens = "mean", first: int | None = None) -> Records:
        """The samples as arrays: all, or the `first` so many."""
        return stack_records(list(self.records[:first]), tokens)

    def heatmaps(self, bins: int = 10, tokens: Tokens = "mean") -> Heatmaps:
        """The two heatmaps, with standard errors.

        Raises:
            LokrWeightingError: a bin is empty.
        """
        averaged = heatmaps_of(self.stacked(tokens), bins)
        return Heatmaps(
            averaged.image,
            averaged.text,
            model=self.model,
            samples=averaged.samples,
            description=f"calibration on {self.settings.get('data', 'own batches')}",
            blocks=self.blocks,
            image_error=averaged.image_error,
            text_error=averaged.text_error,
        )

    @property
    def model(self) -> str | None:
        """The model that was measured, where known."""
        return self.settings.get("model")

    @property
    def has_similarity(self) -> bool:
        """Whether the similarity of every pair of blocks was gathered."""
        return any(record.pairs is not None for record in self.records)

    @property
    def not_finite_by_block(self) -> dict[str, int]:
        """How many samples each block made NaN or Inf first."""
        return dict(Counter(each.block for each in self.not_finite))


class Summary(BaseModel):
    """`calibration.json`: what was measured, and how well.

    `files` binds the other files to it; None in calibrations of earlier versions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    settings: dict[str, Any]
    blocks: tuple[str, ...]
    samples: int
    not_finite: dict[str, int] = {}
    settled: bool
    same: float | None = None
    near: float | None = None
    image: list[float | None]
    image_error: list[float | None] | None
    text: list[float | None]
    text_error: list[float | None] | None
    skipped: dict[str, str] = {}
    processes: int = 1
    versions: dict[str, str]
    files: dict[str, Seal] | None = None

    @field_validator("settings")
    @classmethod
    def _known(cls, settings: dict[str, Any]) -> dict[str, Any]:
        """Of the settings only two are more than compared: own batches may have any."""
        if not isinstance(model := settings.get("model"), str | None):
            raise ValueError(f"model = {shortened(repr(model))}: a name is wanted")
        bins = settings.get("bins", 1)
        if not isinstance(bins, int) or isinstance(bins, bool) or bins < 1:
            raise ValueError(f"bins = {shortened(repr(bins))}: a whole number from 1 on is wanted")
        return settings
