"""What a calibration says of itself: what it is of, and `calibration.json`."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator

from lokr_weighting.parsing import shortened
from lokr_weighting.records.seals import Seal

Settings = Mapping[str, Any]
"""What a calibration is of: model, dataset, seed, ...; JSON values, equal or not the same."""
ADDED = ("pipeline",)
"""Settings that calibrations of earlier versions do not have; they are resumed without them."""


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
