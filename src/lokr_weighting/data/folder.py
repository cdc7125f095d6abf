"""Finding images and captions in a folder, in the layouts people already have.

Three layouts, nested folders included, mixed as one likes:

- `a.png` beside `a.txt`: the text file is one caption; its lines are joined by spaces.
- `metadata.jsonl` or `metadata.csv` in any folder: `file_name`, relative to that folder, and
  `text`, a string or (jsonl only) a list of strings. Several rows of one image add captions.
- neither, e.g. one folder per class: the caption is empty.

An image with several sources has the captions of all of them: the text file's first, then the
metadata's in the order of their files and rows, each once. Nothing in the folder is written to.
"""

import csv
import hashlib
import io
import json
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from lokr_weighting.digests import short_digest
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import checked, faults, read_text

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""What counts as an image, in upper or lower case; of several frames the first is meant."""
METADATA = ("metadata.jsonl", "metadata.csv")
"""The names of metadata files."""


@dataclass(frozen=True)
class ImageItem:
    """One image: its POSIX path relative to the folder, and its captions, `("",)` for none."""

    name: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Problem:
    """An image that was left out: its POSIX path relative to the folder, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class ImageFolder:
    """The images of a folder.

    Attributes:
        root: the folder, as it was given.
        items: the images, sorted by name, so that the order is the same on every machine.
        problems: the images left out, sorted by name.
        without_caption: how many of the items have no caption.
    """

    root: Path
    items: tuple[ImageItem, ...]
    problems: tuple[Problem, ...]
    without_caption: int

    def check(self, later: Iterable[Problem] = ()) -> None:
        """Refuse to go on when too many images are broken.

        Args:
            later: images that turned out to be broken when they were opened.

        Raises:
            LokrWeightingError: as `check_problems`.
        """
        check_problems([*self.problems, *later], len(self.items) + len(self.problems))


def _as_list(text: object) -> object:
    if isinstance(text, str | list):
        return [text] if isinstance(text, str) else text
    raise ValueError("must be a string or a list of strings")


class Row(BaseModel):
    """One row of a metadata file. Other keys are allowed and left alone."""

    file_name: Annotated[str, Field(min_length=1)]
    text: Annotated[list[str], BeforeValidator(_as_list)]


def find_images(folder: Path) -> ImageFolder:
    """Find the images under `folder` and their captions.

    Hidden files and folders (`.name`) and files of other kinds are ignored. An image is left out
    and named in `problems` if it, or its text file, cannot be read; no image is decoded here.

    Raises:
        LokrWeightingError: the folder is missing, no folder, or holds no images; or a metadata
            file cannot be read, has a malformed row, or names an image that is not there.
    """
    if not folder.exists():
        raise LokrWeightingError(f"{folder}: there is no such folder")
    if not folder.is_dir():
        raise LokrWeightingError(f"{folder}: this is a file; a folder of images is wanted")
    files = tuple(_files(folder))
    images = {
        path.relative_to(folder).as_posix(): path
        for path in files
        if path.suffix.lower() in SUFFIXES
    }
    if not images:
        raise LokrWeightingError(
            f"{folder}: holds no images, nested folders included; looked for {', '.join(SUFFIXES)}"
        )
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    described = _metadata(folder, files, images)
    items: list[ImageItem] = []
    problems: list[Problem] = []
    for name, path in sorted(images.items()):
        # also not a file: a link to nowhere, or a pipe that would never end
        if not (path.is_file() and os.access(path, os.R_OK)):
            problems.append(Problem(name, "is not a readable file"))
            continue
        captions = list(described.get(name, ()))
        if text := texts.get(path.with_suffix("")):
            try:
                captions.insert(0, _caption(read_text(text)))
            except LokrWeightingError as error:
                problems.append(Problem(name, f"its caption {error}"))
                continue
        unique = dict.fromkeys(caption for caption in captions if caption)
        items.append(ImageItem(name, tuple(unique) or ("",)))
    without_caption = sum(item.captions == ("",) for item in items)
    return ImageFolder(folder, tuple(items), tuple(problems), without_caption)


def fingerprint(folder: ImageFolder) -> str:
    """A short sha256 over every item's name, file content and captions, 16 hex digits.

    Where the folder lies and when its files were written does not matter.

    Raises:
        LokrWeightingError: a file can no longer be read.
    """
    return short_digest(_described(folder))


def _described(folder: ImageFolder) -> Iterator[str]:
    for item in folder.items:
        path = folder.root / item.name
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise LokrWeightingError(f"{path}: cannot be read: {error.strerror}") from None
        yield json.dumps([item.name, content, item.captions]) + "\n"


def check_problems(problems: Iterable[Problem], total: int, *, limit: float = 0.1) -> None:
    """Refuse to go on when too many images are broken.

    Args:
        problems: the images left out so far; an image named twice counts once.
        total: how many images there are, the broken ones included.
        limit: the share of broken images that is still allowed.

    Raises:
        LokrWeightingError: more than `limit` of all images are broken, or none is left.
    """
    broken = {problem.name: problem.reason for problem in problems}
    left = total - len(broken)
    if left > 0 and len(broken) / total <= limit:
        return
    first = "".join(f"\n  {name}: {reason}" for name, reason in list(broken.items())[:5])
    more = f"\n  and {len(broken) - 5} more" if len(broken) > 5 else ""
    allowed = f"at most {limit:.0%} may be" if left > 0 else "none is left"
    raise LokrWeightingError(
        f"{len(broken)} of {total} images are broken, {allowed}; mend or remove them:{first}{more}"
    )


def _files(folder: Path, parents: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield every file that is not hidden, links to folders followed."""
    try:
        real = folder.resolve()
        entries = [
            (entry, entry.is_dir())
            for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
            if not entry.name.startswith(".")
        ]
    except OSError as error:
        raise LokrWeightingError(f"{folder}: cannot be read: {error.strerror}") from None
    if real in parents:  # a link back up, which would go round for ever
        return
    for entry, is_folder in entries:
        if is_folder:
            yield from _files(entry, (*parents, real))
        else:
            yield entry


def _metadata(
    folder: Path, files: Sequence[Path], images: Mapping[str, Path]
) -> dict[str, list[str]]:
    """Read every metadata file; image name -> captions."""
    captions: dict[str, list[str]] = {}
    for path in files:
        if path.name not in METADATA:
            continue
        here = path.parent.relative_to(folder).as_posix()
        for where, row in _jsonl_rows(path) if path.suffix == ".jsonl" else _csv_rows(path):
            name = posixpath.normpath(posixpath.join(here, row.file_name))
            if name not in images:
                raise LokrWeightingError(
                    f"{where}: file_name {row.file_name!r}: there is no such image; it must lie in "
                    f"{folder}, be given relative to {path.parent} with '/' between folders, "
                    f"and end in one of {', '.join(SUFFIXES)}"
                )
            captions.setdefault(name, []).extend(map(_caption, row.text))
    return captions


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield (file:line, row); blank lines are left out."""
    # not splitlines: a JSON string may hold the other characters that it takes for line ends
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield where, Row.model_validate_json(line)
        except ValidationError as error:
            raise LokrWeightingError(f"{where}: {faults(error)}") from None


def _csv_rows(path: Path) -> Iterator[tuple[str, Row]]:
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
                header = _header(fields, where)
            elif len(fields) != len(header):
                raise LokrWeightingError(
                    f"{where}: the row has {len(fields)} fields, the header {len(header)}; "
                    "put text that holds a comma in double quotes"
                )
            else:
                yield where, checked(Row, dict(zip(header, fields, strict=True)), where)
    except csv.Error as error:
        raise LokrWeightingError(f"{path}:{line}: not a CSV row: {error}") from None
    if not header:
        raise LokrWeightingError(f"{path}: is empty; columns file_name and text are wanted")


def _header(columns: list[str], where: str) -> list[str]:
    for column in Row.model_fields:
        if column not in columns:
            raise LokrWeightingError(
                f"{where}: column {column!r} is missing; the columns are {', '.join(columns)}"
            )
    return columns


def _text(path: Path) -> str:
    return read_text(path).removeprefix("\ufeff")


def _caption(text: str) -> str:
    """The caption as one line: no byte order mark, no blank ends, lines joined by spaces."""
    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    return " ".join(line for line in lines if line)
