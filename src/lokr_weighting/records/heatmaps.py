"""Heatmaps: the mean distance per timestep bin and block, one map for each stream."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lokr_weighting.digests import short_digest
from lokr_weighting.files import nulls, read_model, write_json
from lokr_weighting.notebooks import ShownInNotebooks

Distance = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True)
class Heatmaps(ShownInNotebooks):
    """The two heatmaps of a measurement.

    Attributes:
        image: mean distances of the image stream, (bins, blocks), each in [0, 1]; a block of text
            alone has a column of NaN.
        text: mean distances of the text stream, (bins, blocks); a block that hands no text on has
            a column of NaN.
        model: the model that was measured, where known.
        samples: how many samples the means are over, where known.
        description: where the numbers come from, in words.
        blocks: the blocks' names, where known.
        image_error: the standard error of each block's mean over the bins, (blocks,), where known;
            NaN where a block has text alone.
        text_error: the same of the text stream, NaN where a block hands no text on.
    """

    image: np.ndarray
    text: np.ndarray
    model: str | None = None
    samples: int | None = None
    description: str = ""
    blocks: tuple[str, ...] | None = None
    image_error: np.ndarray | None = None
    text_error: np.ndarray | None = None

    def __repr__(self) -> str:
        samples = "" if self.samples is None else f", {self.samples} samples"
        return (
            f"Heatmaps(model={self.model!r}, {self.bins} bins x {self.block_count} blocks, "
            f"{int(self.has_text.sum())} with text{samples})"
        )

    @property
    def bins(self) -> int:
        """How many timestep bins; bin b covers timesteps [b / bins, (b + 1) / bins)."""
        return self.image.shape[0]

    @property
    def block_count(self) -> int:
        """How many blocks."""
        return self.image.shape[1]

    @property
    def has_image(self) -> np.ndarray:
        """Which blocks have an image distance, (blocks,) of bool."""
        return ~np.isnan(self.image).all(axis=0)

    @property
    def has_text(self) -> np.ndarray:
        """Which blocks have a text distance, (blocks,) of bool."""
        return ~np.isnan(self.text).all(axis=0)

    @property
    def identity(self) -> str:
        """A short fingerprint of the numbers: equal for equal heatmaps."""
        return short_digest(
            part
            for heatmap in (self.image, self.text)
            for part in (
                repr(heatmap.shape),
                np.ascontiguousarray(heatmap, dtype="<f8").tobytes(),
            )
        )


class HeatmapsFile(BaseModel):
    """The heatmaps' JSON file. Rows are timestep bins, columns are blocks.

    `image` has a column for every block, of nulls where one has text alone. `text` may have fewer
    columns (the last blocks hand no text on), or nulls.
    `*_lo` and `*_hi` bound each cell where the numbers were read back from a figure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = ""
    model: str | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    n_bins: Annotated[int, Field(ge=1)] | None = None
    bin_edges: list[float] | None = None
    blocks: tuple[str, ...] | None = None
    image: Annotated[list[list[Distance | None]], Field(min_length=1)]
    text: list[list[Distance | None]]
    image_error: list[Distance | None] | None = None
    text_error: list[Distance | None] | None = None
    image_lo: list[list[Distance]] | None = None
    image_hi: list[list[Distance]] | None = None
    text_lo: list[list[Distance]] | None = None
    text_hi: list[list[Distance]] | None = None

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        bins, blocks = len(self.image), len(self.image[0])
        if not blocks:
            raise ValueError("image has no blocks")
        if self.n_bins not in (None, bins):
            raise ValueError(f"n_bins is {self.n_bins}, but image has {bins} rows")
        for name, rows in (("image", self.image), ("text", self.text)):
            if len(rows) != bins:
                raise ValueError(f"{name} has {len(rows)} rows, image has {bins}")
            if len({len(row) for row in rows}) > 1:
                raise ValueError(f"the rows of {name} differ in length")
        if len(self.text[0]) > blocks:
            raise ValueError(f"text has {len(self.text[0])} blocks, image only {blocks}")
        edges = [bin_ / bins for bin_ in range(bins + 1)]
        if self.bin_edges is not None and not np.allclose(
            self.bin_edges, edges if len(self.bin_edges) == len(edges) else np.inf
        ):
            raise ValueError(f"bin_edges must cut [0, 1] into {bins} equal bins")
        if self.blocks is not None and len(self.blocks) != blocks:
            raise ValueError(f"blocks names {len(self.blocks)} blocks, image has {blocks}")
        for name, errors in (("image_error", self.image_error), ("text_error", self.text_error)):
            if errors is not None and len(errors) != blocks:
                raise ValueError(f"{name} has {len(errors)} blocks, image has {blocks}")
        missing = np.ones((2, bins, blocks), dtype=bool)
        for which, (name, rows) in enumerate((("image", self.image), ("text", self.text))):
            own = missing[which, :, : len(rows[0])] = np.isnan(np.array(rows, dtype=float))
            if (own.any(axis=0) & ~own.all(axis=0)).any():
                raise ValueError(
                    f"{name} has a block with a number in some bins and null in others"
                )
        if (neither := missing.all(axis=(0, 1))).any():
            raise ValueError(f"block {neither.argmax()} has a number in neither image nor text")
        return self


def read_heatmaps(path: Path) -> Heatmaps:
    """Read heatmaps from a JSON file.

    Raises:
        LokrWeightingError: the file is missing or not a heatmaps file; names file and key.
    """
    file = read_model(path, HeatmapsFile)
    image = np.array(file.image, dtype=float)
    text = np.full_like(image, np.nan)
    text[:, : len(file.text[0])] = np.array(file.text, dtype=float)
    image_error, text_error = (
        None if errors is None else np.array(errors, dtype=float)
        for errors in (file.image_error, file.text_error)
    )
    return Heatmaps(
        image,
        text,
        file.model,
        file.samples,
        file.description,
        file.blocks,
        image_error,
        text_error,
    )


def write_heatmaps(path: Path, heatmaps: Heatmaps) -> None:
    """Write heatmaps to a JSON file that `read_heatmaps` reads back without loss."""
    file = HeatmapsFile(
        description=heatmaps.description,
        model=heatmaps.model,
        samples=heatmaps.samples,
        blocks=heatmaps.blocks,
        image=[nulls(row) for row in heatmaps.image],
        text=[nulls(row) for row in heatmaps.text],
        image_error=None if heatmaps.image_error is None else nulls(heatmaps.image_error),
        text_error=None if heatmaps.text_error is None else nulls(heatmaps.text_error),
    )
    write_json(path, file.model_dump(exclude_none=True))
