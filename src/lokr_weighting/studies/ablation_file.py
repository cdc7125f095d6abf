"""`ablation.json`: an ablation as a file.

Version 1 knew neither single samples nor groups; its files are read too.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lokr_weighting.files import nulls, read_model, write_json
from lokr_weighting.models.blocks import places_in_lists
from lokr_weighting.studies.ablation import (
    Ablation,
    Captions,
    Change,
    Obeyed,
    Refused,
    Seen,
    Span,
)
from lokr_weighting.studies.strategies import Kind, Strategy


class StrategyEntry(BaseModel):
    """A `Strategy`."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    path: str
    first: int
    last: int
    by: int | None = None
    times: int | None = None
    seed: int | None = None

    @property
    def strategy(self) -> Strategy:
        """The strategy itself."""
        return Strategy(self.kind, self.path, self.first, self.last, self.by, self.times, self.seed)


class ChangeEntry(StrategyEntry):
    """One strategy, and its `Change`."""

    change: float
    error: float
    by_bin: list[float]
    bin_error: list[float]
    by_sample: list[float] | None = None


class RefusedEntry(StrategyEntry):
    """A strategy that the model cannot run."""

    reason: str


class SpanEntry(BaseModel):
    """A `Span`."""

    model_config = ConfigDict(extra="forbid")

    path: str
    stream: Literal["image", "text"]
    name: str
    first: int
    last: int


class ObeyedEntry(BaseModel):
    """An `Obeyed`."""

    model_config = ConfigDict(extra="forbid")

    right: int = Field(ge=0)
    drawn: int = Field(ge=1)


class StrategyObeyed(StrategyEntry):
    """A strategy, and how many of its images show their caption."""

    obeyed: ObeyedEntry


class CaptionsEntry(BaseModel):
    """A `Captions`."""

    model_config = ConfigDict(extra="forbid")

    accuracy: float
    plain: ObeyedEntry
    by_strategy: list[StrategyObeyed]

    @property
    def captions(self) -> Captions:
        """The captions themselves."""
        return Captions(
            self.accuracy,
            Obeyed(**self.plain.model_dump()),
            tuple((each.strategy, Obeyed(**each.obeyed.model_dump())) for each in self.by_strategy),
        )


class SeenEntry(BaseModel):
    """A `Seen`: a row of `image` and `text` for each timestep bin, null where a stream is not."""

    model_config = ConfigDict(extra="forbid")

    timesteps: list[float]
    losses: list[float]
    image: list[list[float | None]]
    text: list[list[float | None]]


class AblationFile(BaseModel):
    """The file; `image` and `text` are null where a block does not have that stream."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1, 2] = 2
    model: str
    samples: int
    blocks: list[str]
    loss: float
    image: list[float | None]
    text: list[float | None]
    changes: list[ChangeEntry]
    refused: list[RefusedEntry] = []
    spans: list[SpanEntry] = []
    samples_seen: SeenEntry | None = None
    captions: CaptionsEntry | None = None

    @model_validator(mode="after")
    def _alike(self) -> Self:
        for name, values in (("image", self.image), ("text", self.text)):
            if len(values) != len(self.blocks):
                raise ValueError(
                    f"{name} has {len(values)} blocks, blocks names {len(self.blocks)}"
                )
        counts = {path: len(places) for path, places in places_in_lists(self.blocks).items()}
        for span in self.spans:
            if not 0 <= span.first <= span.last < counts.get(span.path, 0):
                raise ValueError(
                    f"spans: {span.path} has {counts.get(span.path, 0)} blocks, not "
                    f"{span.first} to {span.last}"
                )
        if self.samples_seen is not None:
            self._samples_alike(self.samples_seen)
        return self

    def _samples_alike(self, seen: SeenEntry) -> None:
        """Every sample and every bin has its numbers."""
        if any(not 0 <= each <= 1 for each in seen.timesteps):
            raise ValueError("samples_seen.timesteps must lie in 0 to 1")
        known = [("samples_seen.losses", seen.losses)]
        known += [("by_sample", each.by_sample) for each in self.changes if each.by_sample]
        for name, values in known:
            if len(values) != len(seen.timesteps):
                raise ValueError(
                    f"{name} has {len(values)} samples, samples_seen.timesteps has "
                    f"{len(seen.timesteps)}"
                )
        bins = len(seen.image)
        rows = [*seen.image, *seen.text]
        if (
            not bins
            or len(seen.text) != bins
            or any(len(row) != len(self.blocks) for row in rows)
            or any(len(each.by_bin) != bins for each in self.changes)
        ):
            raise ValueError(
                "samples_seen.image, samples_seen.text and by_bin must have the same timestep "
                f"bins, and {len(self.blocks)} blocks"
            )


def as_json(ablation: Ablation) -> dict[str, Any]:
    """Everything as JSON values, as in `ablation.json`."""
    seen = ablation.samples_seen
    return AblationFile(
        model=ablation.model,
        samples=ablation.samples,
        blocks=list(ablation.blocks),
        loss=ablation.loss,
        image=nulls(ablation.image),
        text=nulls(ablation.text),
        changes=[
            ChangeEntry(
                **asdict(each.strategy),
                change=each.change,
                error=each.error,
                by_bin=each.by_bin.tolist(),
                bin_error=each.bin_error.tolist(),
                by_sample=None if each.by_sample is None else each.by_sample.tolist(),
            )
            for each in ablation.changes
        ],
        refused=[
            RefusedEntry(**asdict(each.strategy), reason=each.reason) for each in ablation.refused
        ],
        spans=[SpanEntry.model_validate(asdict(each)) for each in ablation.spans],
        samples_seen=None
        if seen is None
        else SeenEntry(
            timesteps=seen.timesteps.tolist(),
            losses=seen.losses.tolist(),
            image=[nulls(row) for row in seen.image],
            text=[nulls(row) for row in seen.text],
        ),
        captions=None if ablation.captions is None else _captions_entry(ablation.captions),
    ).model_dump(mode="json")


def _captions_entry(captions: Captions) -> CaptionsEntry:
    return CaptionsEntry(
        accuracy=captions.accuracy,
        plain=ObeyedEntry(**asdict(captions.plain)),
        by_strategy=[
            StrategyObeyed(**asdict(strategy), obeyed=ObeyedEntry(**asdict(obeyed)))
            for strategy, obeyed in captions.by_strategy
        ],
    )


def write_ablation(path: Path, ablation: Ablation) -> None:
    """Write an ablation as JSON."""
    write_json(path, as_json(ablation))


def read_ablation(path: Path) -> Ablation:
    """Read an ablation's file.

    Raises:
        LokrWeightingError: missing, no JSON, or not an ablation's file.
    """
    file = read_model(path, AblationFile)
    seen = file.samples_seen
    return Ablation(
        file.model,
        file.samples,
        tuple(file.blocks),
        file.loss,
        tuple(
            Change(
                each.strategy,
                each.change,
                each.error,
                np.array(each.by_bin),
                np.array(each.bin_error),
                None if each.by_sample is None else np.array(each.by_sample),
            )
            for each in file.changes
        ),
        _numbers(file.image),
        _numbers(file.text),
        tuple(Refused(each.strategy, each.reason) for each in file.refused),
        tuple(Span(**each.model_dump()) for each in file.spans),
        None
        if seen is None
        else Seen(
            np.array(seen.timesteps),
            np.array(seen.losses),
            _numbers(seen.image),
            _numbers(seen.text),
        ),
        None if file.captions is None else file.captions.captions,
    )


def _numbers(values: Sequence[Any]) -> np.ndarray:
    """Numbers in which null is NaN."""
    return np.array(values, dtype=float)
