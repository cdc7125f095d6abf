"""Adapters written whole, the same bytes each time; those of another plan make way."""

import filecmp
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from lokr_weighting.errors import LokrWeightingError, OutputError
from lokr_weighting.files import UNFINISHED, beside, check_there, removed

NAME = re.compile(r"lokr_(?P<number>\d{1,4})of(?P<count>\d{1,4})")
"""The folder of one adapter of several."""
WRITTEN_BY_PEFT = (CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME, "README.md")


def replace_adapters(
    folder: Path, write: Callable[[Path], object], *, replace: bool = True
) -> None:
    """Write adapters beside their place, and then move them there.

    Adapters that were there before are removed, LoKr or LoRA: of another plan, they would not be
    told apart. Other files stay.

    Args:
        folder: where the adapters shall be.
        write: writes them into the folder that it is given.
        replace: whether something else may be there; what a killed run began is gone on with.

    Raises:
        LokrWeightingError: something else is there.
        OutputError: they cannot be written.
    """
    try:
        with beside(folder) as place:
            whole = place / "whole"
            whole.mkdir()
            (begun := place / "begun").touch()
            write(whole)
            # peft makes folders that are gone again: what it wrote before would be missing
            if not begun.exists():
                raise removed(folder)
            new = [path.relative_to(whole) for path in whole.rglob("*") if path.is_file()]
            if not replace:
                _check_part(folder, whole)
            if folder.exists():
                _remove_adapters(folder, {folder / path for path in new})
                for path in new:
                    (folder / path).parent.mkdir(exist_ok=True)
                    (whole / path).replace(folder / path)
            else:
                whole.replace(folder)
        check_there([folder / path for path in new])
    except (OSError, SafetensorError) as error:
        raise not_written(folder, error) from None


def replace_file(file: Path, write: Callable[[Path], object], *, replace: bool = True) -> None:
    """Write a file whole or not at all; arguments and errors as for `replace_adapters`."""
    try:
        with beside(file) as place:
            write(whole := place / "whole")
            if not replace and file.exists() and not filecmp.cmp(whole, file, shallow=False):
                raise taken(file)
            whole.replace(file)
        check_there([file])
    except (OSError, SafetensorError) as error:
        raise not_written(file, error) from None


def save_in_order(tensors: dict[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """As `save_file`, but with the metadata in order: safetensors draws a new one every time."""
    save_file(tensors, file, dict(metadata))
    with file.open("r+b") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
        header["__metadata__"] = dict(sorted(metadata.items()))
        ordered = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(ordered) <= size:
            opened.seek(8)
            opened.write(ordered.ljust(size))


def taken(path: Path) -> LokrWeightingError:
    """What is said where something else is there."""
    return LokrWeightingError(f"{path}: exists; --force replaces it")


def not_written(path: Path, error: Exception) -> OutputError:
    """What is said where something could not be written."""
    return OutputError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}")


def _check_part(folder: Path, whole: Path) -> None:
    """Refuse a folder that holds something else than a part of what is written."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_dir() or any(part.endswith(UNFINISHED) for part in relative.parts):
            continue
        same = whole / relative
        if not same.is_file() or not filecmp.cmp(path, same, shallow=False):
            raise taken(folder)


def _remove_adapters(folder: Path, keep: set[Path]) -> None:
    """Remove what peft wrote; a folder that holds something else besides stays with it."""
    named = [path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir()]
    for place in (*named, folder):
        if (place / CONFIG_NAME).exists() or place != folder:
            for file in (place / name for name in WRITTEN_BY_PEFT):
                if file not in keep:
                    file.unlink(missing_ok=True)
        if place != folder and not any(place.iterdir()):
            place.rmdir()
