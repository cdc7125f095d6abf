"""Reading JSON Lines: plain, compressed, or cut short by a kill."""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lokr_weighting.errors import LokrWeightingError

LONGEST = 16 << 20  # bytes of a line: a small compressed file may hold one of any length


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, line) for every line that is not blank; plain, `.gz` or `.bz2`.

    Raises:
        LokrWeightingError: the file is missing, a folder, damaged, cannot be read to its end, or
            has a line of more than 16 MiB.
    """
    number = 0
    try:
        with _open(path) as file:
            while line := file.readline(LONGEST):
                number += 1
                if len(line) == LONGEST:
                    raise LokrWeightingError(
                        f"{path}:{number}: a line of more than {LONGEST >> 20} MiB: no record"
                    )
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise LokrWeightingError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise LokrWeightingError(f"{path}: this is a folder; a records file is wanted") from None
    except (EOFError, OSError, zlib.error) as error:
        raise LokrWeightingError(f"{path}: cannot be read after line {number}: {error}") from None


def without_cut_line(path: Path) -> None:
    """Remove a last line that was cut short."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)


def _open(path: Path) -> IO[bytes] | gzip.GzipFile | bz2.BZ2File:
    if path.suffix == ".gz":
        return gzip.open(path)
    return bz2.open(path) if path.suffix == ".bz2" else path.open("rb")
