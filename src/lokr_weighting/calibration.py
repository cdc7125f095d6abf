"""The calibration folder: records appended one by one, and what is needed to resume exactly.

`settings.json` is written first and says what the records are of, `records.jsonl` grows sample by
sample, `not_finite.jsonl` names samples with NaN or Inf, `similarity.jsonl` holds the similarity of
every pair of blocks where it was asked for, `calibration.json` is written last.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import checked, read_json, read_model, write_json
from lokr_weighting.heatmaps import Heatmaps
from lokr_weighting.pairs import Pairs, line_of, parse_pairs
from lokr_weighting.records import Record, Tokens, heatmaps_of, parse_record, stack_records

RECORDS, NOT_FINITE, SIMILARITY = "records.jsonl", "not_finite.jsonl", "similarity.jsonl"
SETTINGS, SUMMARY = "settings.json", "calibration.json"
LOCK = ".lock"
Settings = Mapping[str, Any]
"""What a calibration is of: model, dataset, seed, ...; JSON values, equal or not the same."""
Parsed = TypeVar("Parsed")


class NotFinite(BaseModel):
    """A sample that gave NaN or Inf, and the first block that did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: Annotated[int, Field(ge=0)]
    block: str


Measured = Record | NotFinite


class Summary(BaseModel):
    """`calibration.json`: what was measured, and how well."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    settings: dict[str, Any]
    blocks: tuple[str, ...]
    samples: int
    not_finite: dict[str, int] = {}
    settled: bool
    same: float | None = None
    near: float | None = None
    image: list[float]
    image_error: list[float] | None
    text: list[float | None]
    text_error: list[float | None] | None
    skipped: dict[str, str] = {}
    processes: int = 1
    versions: dict[str, str]


@dataclass(frozen=True)
class Calibration:
    """Everything measured so far, in the order of the samples.

    Attributes:
        settings: what it is of.
        blocks: the model's blocks, in the order of the records' columns.
        records: the samples.
        not_finite: samples left out because a block gave NaN or Inf.
        folder: where it is kept, if it is.
    """

    settings: Settings
    blocks: tuple[str, ...]
    records: tuple[Record, ...]
    not_finite: tuple[NotFinite, ...] = ()
    folder: Path | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)

    def heatmaps(self, bins: int = 10, tokens: Tokens = "mean") -> Heatmaps:
        """The two heatmaps, with standard errors.

        Raises:
            LokrWeightingError: a bin is empty.
        """
        found = heatmaps_of(stack_records(list(self.records), tokens), bins)
        return Heatmaps(
            found.image,
            found.text,
            model=self.settings.get("model"),
            samples=found.samples,
            description=f"calibration on {self.settings.get('data', 'own batches')}",
            blocks=self.blocks,
            image_error=found.image_error,
            text_error=found.text_error,
        )

    @property
    def has_similarity(self) -> bool:
        """Whether the similarity of every pair of blocks was gathered."""
        return any(record.pairs is not None for record in self.records)

    @property
    def not_finite_by_block(self) -> dict[str, int]:
        """How many samples each block made NaN or Inf first."""
        return dict(Counter(each.block for each in self.not_finite))


class Folder:
    """A calibration's folder, open for appending.

    Raises:
        LokrWeightingError: the folder holds a calibration of something else, or cannot be used.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self._written: set[tuple[str, int | None]] = set()
        if path.exists() and not path.is_dir():
            raise LokrWeightingError(f"{path}: is a file; a folder for the calibration is wanted")
        if path.exists() and not (path / SETTINGS).exists() and set(_names(path)) - {LOCK}:
            raise LokrWeightingError(
                f"{path}: is not empty and holds no calibration; give an empty or new folder"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / LOCK)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LokrWeightingError(
                f"{path}: another process is calibrating into this folder"
            ) from None
        except OSError as error:
            raise LokrWeightingError(f"{path}: cannot be written: {error.strerror}") from None
        if (path / SETTINGS).exists():
            _check_same(path, read_json(path / SETTINGS), settings)
        else:
            write_json(path / SETTINGS, dict(settings))

    def read(self) -> list[Measured]:
        """What was measured before, in the order of the samples; a line cut short is removed."""
        pairs = _read_pairs(self.path, repair=True)
        measured = _read_measured(self.path, pairs, repair=True)
        kinds = {Record: RECORDS, NotFinite: NOT_FINITE}
        self._written = {(kinds[type(each)], each.sample) for each in measured}
        self._written |= {(SIMILARITY, sample) for sample in pairs}
        return measured

    def append(self, measured: Sequence[Measured]) -> None:
        """Add samples, in so far as the files lack them; on disk when this returns."""
        for name in (SIMILARITY, RECORDS, NOT_FINITE):
            new = (each for each in measured if (name, each.sample) not in self._written)
            lines = [line for each in new if (line := _line_in(name, each))]
            if lines:
                with (self.path / name).open("a", encoding="utf-8") as file:
                    file.writelines(lines)
                    file.flush()
                    os.fsync(file.fileno())

    def finish(self, summary: Summary) -> None:
        """Write the summary: the calibration is complete."""
        write_json(self.path / SUMMARY, summary.model_dump(mode="json"))

    def close(self) -> None:
        """Let other processes use the folder; done by the system if this one is killed."""
        self._lock.release()


def read_calibration(folder: Path) -> Calibration:
    """Read a finished calibration.

    Raises:
        LokrWeightingError: the folder is none, was not finished, or a file of it is damaged.
    """
    if not (folder / SUMMARY).exists():
        raise LokrWeightingError(
            f"{folder}: holds no finished calibration ({SUMMARY} is missing); run it again to "
            "resume it"
            if (folder / SETTINGS).exists()
            else f"{folder}: holds no calibration"
        )
    summary = read_model(folder / SUMMARY, Summary)
    measured = _read_measured(folder, _read_pairs(folder, repair=False), repair=False)
    return Calibration(
        summary.settings,
        summary.blocks,
        tuple(each for each in measured if isinstance(each, Record)),
        tuple(each for each in measured if isinstance(each, NotFinite)),
        folder,
        summary.skipped,
    )


def _check_same(path: Path, before: Settings, now: Settings) -> None:
    now = json.loads(json.dumps(now))
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            raise LokrWeightingError(
                f"{path}: holds a calibration with {key} = {before.get(key)!r}, "
                f"this one has {now.get(key)!r}; give another folder, or remove that one"
            )


def _line_in(name: str, each: Measured) -> str | None:
    """A sample's line in one of the files; None where it has none there."""
    if isinstance(each, NotFinite):
        return each.model_dump_json() + "\n" if name == NOT_FINITE else None
    if name == RECORDS:
        return each.line
    if name == SIMILARITY and each.pairs is not None and each.sample is not None:
        return line_of(each.sample, each.pairs)
    return None


def _parse_not_finite(line: bytes, where: str) -> NotFinite:
    return checked(NotFinite, json.loads(line), where)


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def _read_pairs(folder: Path, repair: bool) -> dict[int, Pairs]:
    """Each sample's pairs; `repair` removes a last line that was cut short."""
    return dict(_read_lines(folder / SIMILARITY, parse_pairs, repair))


def _read_measured(folder: Path, pairs: dict[int, Pairs], repair: bool) -> list[Measured]:
    """The other files' samples in order, with their pairs."""
    records = _read_lines(folder / RECORDS, parse_record, repair)
    measured: list[Measured] = [
        *(
            each.with_pairs(pairs[each.sample]) if each.sample in pairs else each
            for each in records
        ),
        *_read_lines(folder / NOT_FINITE, _parse_not_finite, repair),
    ]
    return sorted(measured, key=lambda each: -1 if each.sample is None else each.sample)


def _read_lines(path: Path, parse: Callable[[bytes, str], Parsed], repair: bool) -> list[Parsed]:
    if not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if repair and len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return [
        parse(line, f"{path}:{number}")
        for number, line in enumerate(whole.splitlines(), start=1)
        if line.strip()
    ]
