"""Captions in `metadata.jsonl` and `metadata.csv`.

Each row has `file_name`, relative to the metadata's own folder, and a text: a string or (jsonl
only) a list of strings. Several rows of one image add captions.
"""

import csv
import io
import posixpath
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lokr_weighting.data.images import SUFFIXES
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import checked, faults, read_text

METADATA = ("metadata.jsonl", "metadata.csv")
"""The names of metadata files."""
COLUMN = "text"
FILE_NAME = "file_name"


@dataclass(frozen=True)
class Wanted:
    """Where captions are looked for.

    Attributes:
        name: as it was asked for; None: everywhere.
        suffix: only in files beside the images with this suffix; None: any that is known.
        column: the column of metadata.
        key: the key of .json files beside the images; None: any that is known.
        metadata: whether metadata is read.
        sidecars: whether files beside the images are read.
    """

    name: str | None = None
    suffix: str | None = None
    column: str = COLUMN
    key: str | None = None
    metadata: bool = True
    sidecars: bool = True


def wanted(captions: str | None) -> Wanted:
    """Where captions are: an extension with its dot, or a column.

    Raises:
        LokrWeightingError: it is empty.
    """
    if captions is None:
        return Wanted()
    if captions.strip(". ") == "":
        raise LokrWeightingError(
            f"captions = {captions!r}: give an extension like .caption, or a column's name"
        )
    if captions.startswith("."):
        return Wanted(captions, suffix=captions.lower(), metadata=False)
    return Wanted(captions, suffix=".json", column=captions, key=captions)


def as_texts(text: object) -> object:
    """One string or many, as a list, for pydantic."""
    if isinstance(text, str | list):
        return [text] if isinstance(text, str) else text
    raise ValueError("must be a string or a list of strings")


Texts = Annotated[list[str], BeforeValidator(as_texts)]


class Row(BaseModel):
    """One row of a metadata file. Other keys are allowed and left alone."""

    file_name: Annotated[str, Field(min_length=1)]
    text: Texts


def one_line(text: str) -> str:
    """A caption as one line: no byte order mark, no blank ends, lines joined by spaces."""
    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    return " ".join(line for line in lines if line)


def read_metadata(
    folder: Path,
    files: Iterable[Path],
    images: Mapping[str, Path],
    source: Wanted,
    *,
    passed_over: Container[str] = (),
) -> dict[str, list[str]]:
    """Read metadata files; image name -> captions.

    Args:
        folder: the folder of images.
        files: the metadata files in it.
        images: the images' names.
        source: the column.
        passed_over: names of files that are no images here, and whose rows are not read.

    Raises:
        LokrWeightingError: a file cannot be read, has a malformed row, or names an image that is
            not there; with its line.
    """
    captions: dict[str, list[str]] = {}
    row_class = _row_class(source.column)
    for path in files:
        here = path.parent.relative_to(folder).as_posix()
        rows = _jsonl_rows if path.suffix == ".jsonl" else _csv_rows
        for where, row in rows(path, row_class, source.column):
            name = posixpath.normpath(posixpath.join(here, row.file_name))
            if name in passed_over:
                continue
            if name not in images:
                raise LokrWeightingError(
                    f"{where}: file_name {row.file_name!r}: there is no such image; it must lie in "
                    f"{folder}, be given relative to {path.parent} with '/' between folders, "
                    f"and end in one of {', '.join(SUFFIXES)}"
                )
            captions.setdefault(name, []).extend(map(one_line, row.text))
    return captions


def _row_class(column: str) -> type[Row]:
    """A row whose text is in the column of this name."""
    if column == COLUMN:
        return Row

    class OwnRow(Row):
        model_config = ConfigDict(title="Row")

        text: Annotated[Texts, Field(validation_alias=column)]  # pyright: ignore[reportIncompatibleVariableOverride]

    return OwnRow


def _jsonl_rows(path: Path, row_class: type[Row], column: str) -> Iterator[tuple[str, Row]]:
    """Yield (file:line, row); blank lines are left out."""
    # not splitlines: a JSON string may hold the other characters that it takes for line ends
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield where, row_class.model_validate_json(line)
        except ValidationError as error:
            raise LokrWeightingError(f"{where}: {faults(error)}{_advice(error, column)}") from None


def _csv_rows(path: Path, row_class: type[Row], column: str) -> Iterator[tuple[str, Row]]:
    """Yield (file:line, row), the line being the row's first; blank lines are left out."""
    # strict: else a quote that is never closed swallows all rows after it without a word
    reader = csv.reader(io.StringIO(_text(path)), strict=True)
    header: list[str] = []
    line = 1
    try:
        for fields in reader:
            where, line = f"{path}:{line}", reader.line_num + 1
            if not fields:
                continue
            if not header:
                header = _header(fields, where, column)
            elif len(fields) != len(header):
                raise LokrWeightingError(
                    f"{where}: the row has {len(fields)} fields, the header {len(header)}; "
                    "put text that holds a comma in double quotes"
                )
            else:
                yield where, checked(row_class, dict(zip(header, fields, strict=True)), where)
    except csv.Error as error:
        raise LokrWeightingError(f"{path}:{line}: not a CSV row: {error}") from None
    if not header:
        raise LokrWeightingError(f"{path}: is empty; columns {FILE_NAME} and {column} are wanted")


def _header(columns: list[str], where: str, column: str) -> list[str]:
    for each in (FILE_NAME, column):
        if each not in columns:
            advice = "; --captions NAME names the column of captions" if each == COLUMN else ""
            raise LokrWeightingError(
                f"{where}: column {each!r} is missing; the columns are {', '.join(columns)}{advice}"
            )
    return columns


def _advice(error: ValidationError, column: str) -> str:
    missing = any(each["type"] == "missing" and each["loc"] == (column,) for each in error.errors())
    return "; --captions NAME names the key of captions" if missing and column == COLUMN else ""


def _text(path: Path) -> str:
    return read_text(path).removeprefix("\ufeff")
