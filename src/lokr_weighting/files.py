"""Reading and writing files without ever leaving a half-written one."""

import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lokr_weighting.errors import LokrWeightingError

Model = TypeVar("Model", bound=BaseModel)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` whole or not at all: to a temporary name beside it, then moved."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise LokrWeightingError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp makes a private file; the user's umask should decide
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        raise LokrWeightingError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def nulls(numbers: Iterable[float]) -> list[float | None]:
    """The numbers for JSON, which has no NaN: null in its place."""
    return [None if math.isnan(number) else float(number) for number in numbers]


def read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises:
        LokrWeightingError: the file is missing, a folder, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LokrWeightingError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise LokrWeightingError(f"{path}: this is a folder; a file is wanted here") from None
    except UnicodeDecodeError as error:
        raise LokrWeightingError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise LokrWeightingError(f"{path}: cannot be read: {error.strerror}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        LokrWeightingError: as `read_text`, or the text is no JSON object; with file and line.
    """
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise LokrWeightingError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
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


def check_same(folder: Path, what: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on in a folder that holds something else.

    Args:
        folder: the folder.
        what: what it holds, e.g. "a calibration".
        before: what that is of, as JSON values.
        now: what is asked for.

    Raises:
        LokrWeightingError: they differ; names the first key, both values, and what to do.
    """
    now = json.loads(json.dumps(now))
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            raise LokrWeightingError(
                f"{folder}: holds {what} with {key} = {before.get(key)!r}, "
                f"this one has {now.get(key)!r}; give another folder, or remove that one"
            )


def faults(error: ValidationError, known: Sequence[str] = (), most: int = 3) -> str:
    """Say in words what pydantic refused: key, value, and what would be right."""
    lines = []
    for fault in error.errors()[:most]:
        key = ".".join(map(str, fault["loc"])) or "the whole"
        if fault["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}; known keys: {', '.join(known)}")
        elif fault["type"] == "missing":
            lines.append(f"key {key!r} is missing")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            value = "" if fault["loc"] == () else f" = {_short(fault['input'])}"
            lines.append(f"{key}{value}: {message[:1].lower()}{message[1:]}")
    more = error.error_count() - most
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _short(value: Any, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."
