"""Reading and writing files without ever leaving a half-written one."""

import json
import math
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lokr_weighting.errors import LokrWeightingError, OutputError

Model = TypeVar("Model", bound=BaseModel)
LARGEST = 128 << 20  # bytes of a text file
LARGEST_JSON = 32 << 20  # bytes; as Python's objects it may take forty times as many
DEEPEST = 64  # levels of JSON
DIGITS = 100  # of a whole number in JSON


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
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_temporary(path.name))
        with os.fdopen(handle, "wb") as file:
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
            Path(temporary).unlink(missing_ok=True)


def leftovers(folder: Path, names: Iterable[str]) -> list[Path]:
    """What a process that was killed while it wrote one of these files left in a folder."""
    prefixes = tuple(_temporary(name) for name in names)
    return [entry for entry in folder.iterdir() if entry.name.startswith(prefixes)]


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


def parse_json(text: str, where: str, *, finite: bool = False) -> Any:
    """Parse JSON of a sensible depth and with sensible numbers.

    Args:
        text: the JSON.
        where: what a message begins with.
        finite: refuse NaN and Infinity, which Python reads and JSON does not have.

    Raises:
        LokrWeightingError: it is not; the message begins with `where`.
    """
    try:
        data = json.loads(text, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise LokrWeightingError(f"{where}:{error.lineno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise LokrWeightingError(f"{where}: {_TOO_DEEP}") from None
    except ValueError as error:
        raise LokrWeightingError(f"{where}: {error}") from None
    level, wrong = [data], False
    for _ in range(DEEPEST):
        wrong = wrong or (finite and any(map(_is_no_number, level)))
        level = [child for each in level for child in _children(each)]
        if not level:
            break
    else:
        raise LokrWeightingError(f"{where}: {_TOO_DEEP}")
    if wrong:
        key, value = next(_no_numbers(data))
        raise LokrWeightingError(f"{where}: {shortened(key)} = {value}: is no finite number")
    return data


_TOO_DEEP = f"JSON nested more than {DEEPEST} levels deep: no file of this kind"


def _whole_number(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"holds a number of {len(digits)} digits; at most {DIGITS} are read")
    return int(digits)


def _is_no_number(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _no_numbers(data: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Every number that is none, and where it stands."""
    if _is_no_number(data):
        yield key or "the whole", data
    elif isinstance(data, dict | list):
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _no_numbers(value, f"{key}.{name}" if key else str(name))


def _children(data: Any) -> Iterable[Any]:
    if isinstance(data, dict):
        return data.values()
    return data if isinstance(data, list) else ()


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


def shortened(text: str, width: int = 60) -> str:
    """A text of at most `width` letters, for messages."""
    return text if len(text) <= width else text[: width - 3] + "..."
