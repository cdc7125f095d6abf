"""Finding images and captions in a folder, in the layouts people already have.

Three layouts, nested folders included, mixed as one likes:

- `a.png` beside a file of its own (`data.sidecars`): `a.txt`, `a.png.txt`, `a.caption`, `a.json`.
- `metadata.jsonl` or `metadata.csv` in any folder (`data.metadata`).
- neither, e.g. one folder per class: the caption is empty.

An image with several sources has the captions of all of them: its own file's first, then the
metadata's in the order of their files and rows, each once. Nothing in the folder is written to, and
what is not read is counted.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lokr_weighting.data import videos as of_videos
from lokr_weighting.data.images import SUFFIXES
from lokr_weighting.data.metadata import METADATA, Wanted, read_metadata, wanted
from lokr_weighting.data.sidecars import Sidecars
from lokr_weighting.digests import short_digest
from lokr_weighting.errors import LokrWeightingError

ASIDE = ("mask", "masks", "cache", "conditioning")
"""Folders that trainers keep beside the images, and that hold pictures too."""
NO_VIDEOS = "videos are read for models of videos alone"


@dataclass(frozen=True)
class ImageItem:
    """One image or video: its POSIX path relative to the folder, and its captions, or `("",)`."""

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
        ignored: kinds of files that were not read -> how many.
    """

    root: Path
    items: tuple[ImageItem, ...]
    problems: tuple[Problem, ...]
    without_caption: int
    ignored: Mapping[str, int] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """What a user should know, in sentences."""
        said = []
        if self.ignored:
            kinds = ", ".join(f"{count} {kind}" for kind, count in self.ignored.items())
            of_others = f"; {NO_VIDEOS}" if any(map(_is_video_kind, self.ignored)) else ""
            said.append(f"not read in {self.root}: {kinds}{of_others}")
        if self.without_caption:
            said.append(f"{self.without_caption} images have no caption; theirs is empty")
        return said

    def check(self, later: Iterable[Problem] = ()) -> None:
        """Refuse to go on when too many images are broken.

        Args:
            later: images that turned out to be broken when they were opened.

        Raises:
            LokrWeightingError: as `check_problems`.
        """
        check_problems([*self.problems, *later], len(self.items) + len(self.problems))


def find_images(folder: Path, captions: str | None = None, *, videos: bool = False) -> ImageFolder:
    """Find the images under `folder` and their captions; for models of videos, videos too.

    Hidden files and folders (`.name`) and files of other kinds are ignored and counted, and so are
    images in folders for masks and caches that have no caption of their own. An image is left out
    and named in `problems` if it, or its caption's file, cannot be read; no image is decoded here.

    Args:
        folder: the folder.
        captions: where captions are, and nowhere else: the extension of files beside the images,
            with its dot (".caption"), or a column of metadata and key of .json files ("prompt").
            None: in every place that is known.
        videos: whether videos are read; else they are ignored and counted.

    Raises:
        LokrWeightingError: the folder is missing, no folder, or holds no images; a metadata file
            cannot be read, has a malformed row, or names an image that is not there; `captions`
            is nowhere; or there are videos, and nothing that reads them.
    """
    if not folder.exists():
        raise LokrWeightingError(f"{folder}: there is no such folder")
    if not folder.is_dir():
        raise LokrWeightingError(f"{folder}: this is a file; a folder of images is wanted")
    source = wanted(captions)
    ignored: Counter[str] = Counter()
    files = tuple(_files(folder, ignored))
    named = {path.relative_to(folder).as_posix(): path for path in files}
    shown = {name: path for name, path in named.items() if of_videos.is_video(name)}
    images = {name: path for name, path in named.items() if path.suffix.lower() in SUFFIXES}
    if videos:
        of_videos.check_reader(folder, len(shown))
        images, shown = images | shown, {}
    if not images:
        counted = ", ".join(f"{count} {kind}" for kind, count in _kinds(files, set()).items())
        of_others = f"; {NO_VIDEOS}" if shown else ""
        raise LokrWeightingError(
            f"{folder}: holds no images, nested folders included; looked for "
            f"{', '.join(SUFFIXES)}{'; there are ' if counted else ''}{counted}{of_others}"
        )
    metadata = [
        path for path in files if path.name in METADATA and source.metadata and not path.is_fifo()
    ]
    described = read_metadata(folder, metadata, images, source, passed_over=shown)
    sidecars = Sidecars(files, source)
    items: list[ImageItem] = []
    problems: list[Problem] = []
    for name, path in sorted(images.items()):
        # also not a file: a link to nowhere, or a pipe that would never end
        if not (path.is_file() and os.access(path, os.R_OK)):
            problems.append(Problem(name, "is not a readable file"))
            continue
        try:
            texts = [*sidecars.captions(path), *described.get(name, ())]
        except LokrWeightingError as error:
            problems.append(Problem(name, f"its caption {error}"))
            continue
        if (kind := _aside(name)) and not texts:
            ignored[kind] += 1
            continue
        unique = dict.fromkeys(text for text in texts if text)
        items.append(ImageItem(name, tuple(unique) or ("",)))
    _check_found(folder, source, items, ignored)
    ignored += _kinds(files, {*images.values(), *metadata, *sidecars.read})
    without_caption = sum(item.captions == ("",) for item in items)
    return ImageFolder(
        folder, tuple(items), tuple(problems), without_caption, dict(sorted(ignored.items()))
    )


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


def _check_found(
    folder: Path, source: Wanted, items: Iterable[ImageItem], ignored: Mapping[str, int]
) -> None:
    """Refuse a place for captions where there are none, and a folder of masks alone."""
    items = list(items)
    if not items and ignored:
        counted = ", ".join(f"{count} {kind}" for kind, count in ignored.items())
        raise LokrWeightingError(f"{folder}: holds no images but {counted}; give one of them")
    if source.name is not None and items and all(item.captions == ("",) for item in items):
        raise LokrWeightingError(f"{folder}: no image has a caption in {source.name!r}")


def _aside(name: str) -> str | None:
    """The folder for masks or caches that an image lies in, or its own kind; None for others."""
    path = Path(name)
    for part in path.parts[:-1]:
        if part.lower() in ASIDE:
            return f"images in {part}/"
    return "images *-masklabel" if path.stem.endswith("-masklabel") else None


def _is_video_kind(kind: str) -> bool:
    return kind in of_videos.SUFFIXES


def _kinds(files: Iterable[Path], read: set[Path]) -> Counter[str]:
    """How many files of each suffix were not read."""
    rest = (path for path in files if path not in read)
    return Counter(path.suffix.lower() or "without a suffix" for path in rest)


def _files(folder: Path, ignored: Counter[str], parents: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield every file that is not hidden, links to folders followed; hidden ones are counted."""
    try:
        real = folder.resolve()
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
        seen = [(entry, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise LokrWeightingError(f"{folder}: cannot be read: {error.strerror}") from None
    if real in parents:  # a link back up, which would go round for ever
        return
    if len(seen) < len(entries):
        ignored["hidden"] += len(entries) - len(seen)
    for entry, is_folder in seen:
        if is_folder:
            yield from _files(entry, ignored, (*parents, real))
        else:
            yield entry
