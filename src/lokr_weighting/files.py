"""Reading and writing files without ever leaving a half-written one."""

import json
import math
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lokr_weighting.errors import LokrWeightingError, OutputError
from lokr_weighting.parsing import parse_json, shortened

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None

Model = TypeVar("Model", bound=BaseModel)
LARGEST = 128 << 20  # bytes of a text file
LARGEST_JSON = 32 << 20  # bytes; as Python's objects it may take forty times as many
UNFINISHED = ".lokr-weighting"
"""How the names of files end that are still being written."""


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8; as `write_bytes`."""
    # names of files may hold bytes that are no UTF-8
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all: to a temporary name beside it, then moved.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path)
        handle, temporary = tempfile.mkstemp(UNFINISHED, _temporary(path.name), path.parent)
        with os.fdopen(handle, "wb") as file:
            with suppress(OSError):
                _hold(handle)
            file.write(data)
        # mkstemp makes a private file; the user's umask should decide
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink(missing_ok=True)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary folder in which what becomes `path` is written first; removed in the end.

    It lies in `path` itself where that is a folder, so that moving is possible in any case.
    """
    place = path if path.is_dir() else path.parent
    place.mkdir(parents=True, exist_ok=True)
    for each in {path.parent, place}:
        clear_leftovers(each / path.name)
    folder = tempfile.mkdtemp(UNFINISHED, _temporary(path.name), place)
    handle = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if handle is not None:
            with suppress(OSError):
                _hold(handle)
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def clear_leftovers(path: Path) -> None:
    """Remove what killed writers of this file left; a living one holds its own."""
    found: list[Path] = []
    with suppress(OSError):
        found = [entry for entry in path.parent.iterdir() if entry.name.endswith(UNFINISHED)]
    for left in found:
        if not left.name.startswith(_temporary(path.name)):
            continue
        with suppress(OSError):
            if left.is_dir():
                handle = os.open(left, os.O_RDONLY)
                try:
                    _hold(handle)
                    shutil.rmtree(left)
                finally:
                    os.close(handle)
            else:
                with left.open("rb") as file:
                    _hold(file.fileno())
                left.unlink()


def check_there(paths: Iterable[Path]) -> None:
    """At the end, see that nothing of what was written has been removed meanwhile.

    Raises:
        OutputError: names the first that is missing.
    """
    for path in paths:
        if not path.exists():
            raise removed(path)


def removed(path: Path) -> OutputError:
    """What is said of a file or folder that was removed meanwhile."""
    return OutputError(f"{path}: was removed while this ran; the same command writes it again")


def _hold(handle: int) -> None:
    """Lock an open file or folder until it is closed or its process dies.

    Raises:
        OSError: another process holds it, or this file system has no locks.
    """
    if fcntl:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _temporary(name: str) -> str:
    """How the temporary name of a file begins; short enough for names of any length."""
    return f".{name[:100]}."


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def nulls(numbers: Iterable[float]) -> list[float | None]:
    """The numbers for JSON, which has no NaN: null in its place."""
    return [None if math.isnan(number) else float(number) for number in numbers]


def read_text(path: Path, largest: int = LARGEST) -> str:
    """Read a UTF-8 file.

    Args:
        path: the file.
        largest: how many bytes it may have.

    Raises:
        LokrWeightingError: the file is missing, a folder, unreadable, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except FileNotFoundError:
        raise LokrWeightingError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise LokrWeightingError(f"{path}: this is a folder; a file is wanted here") from None
    except OSError as error:
        raise LokrWeightingError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > largest:
        raise LokrWeightingError(f"{path}: is larger than {largest >> 20} MiB: no such file")
    try:
        # line ends as in a file that is opened as text
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise LokrWeightingError(f"{path}: is not UTF-8 text (byte {error.start})") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        LokrWeightingError: as `read_text`, or the text is no JSON object; with file and line.
    """
    data = parse_json(read_text(path, LARGEST_JSON), str(path), finite=True)
    if not isinstance(data, dict):
        raise LokrWeightingError(f"{path}: holds a JSON {type(data).__name__}, not an object")
    return data


def read_model(path: Path, model: type[Model]) -> Model:
    """Read a JSON object into the pydantic `model`; every fault is one line with its key."""
    return checked(model, read_json(path), str(path))


def checked(model: type[Model], data: dict[str, Any], where: str) -> Model:
    """Validate `data`, turning pydantic's report into one `LokrWeightingError` that says where."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise LokrWeightingError(f"{where}: {faults(error, tuple(model.model_fields))}") from None


def check_same(
    folder: Path,
    what: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    added: Collection[str] = (),
) -> list[str]:
    """Refuse to go on in a folder that holds something else.

    Args:
        folder: the folder.
        what: what it holds, e.g. "a calibration".
        before: what that is of, as JSON values.
        now: what is asked for.
        added: keys that earlier versions did not write; not compared where they are missing.

    Returns:
        the keys that could not be compared.

    Raises:
        LokrWeightingError: they differ; names the first key, both values, and what to do.
    """
    now = json.loads(json.dumps(now))
    unknown = [key for key in added if key in now and key not in before]
    for key in sorted({*before, *now} - {*unknown}):
        if before.get(key) != now.get(key):
            raise LokrWeightingError(
                f"{folder}: holds {what} with {key} = {before.get(key)!r}, "
                f"this one has {now.get(key)!r}; give another folder, or remove that one"
            )
    return unknown


def faults(error: ValidationError, known: Sequence[str] = (), most: int = 3) -> str:
    """Say in words what pydantic refused: key, value, and what would be right."""
    lines = []
    for fault in error.errors()[:most]:
        key = ".".join(map(str, fault["loc"])) or "the whole"
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown key {shortened(key)!r}; known keys: {', '.join(known)}")
        elif fault["type"] == "missing":
            lines.append(f"key {key!r} is missing")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            value = "" if fault["loc"] == () else f" = {shortened(repr(fault['input']))}"
            lines.append(f"{shortened(key)}{value}: {message[:1].lower()}{message[1:]}")
    more = error.error_count() - most
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")
