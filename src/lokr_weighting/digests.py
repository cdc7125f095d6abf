"""Fingerprints: equal for equal content."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from lokr_weighting.errors import OutputError
from lokr_weighting.files import write_text

DIGITS = 16
CACHE = "LOKR_WEIGHTING_CACHE"
"""The variable that names another folder for what is remembered."""
REMEMBERED = 4096  # files
YOUNG = 2.0  # seconds: a file may be written to again within one tick of its clock
READERS = 4


def short_digest(parts: Iterable[bytes | str]) -> str:
    """The first 16 hex digits of the sha256 over all parts, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:DIGITS]


def file_digests(files: Sequence[Path]) -> list[str]:
    """The sha256 of each file, 64 hex digits; of a file that is as it was, from memory.

    A file is as it was if its place, size, inode and both its times are. What is remembered lies in
    the user's cache folder; where that cannot be written, files are read again.

    Raises:
        OSError: a file cannot be read.
    """
    known = _remembered()
    keys = [_key(file) for file in files]
    missing = [at for at, key in enumerate(keys) if key not in known]
    with ThreadPoolExecutor(READERS) as pool:
        read = pool.map(_digest, (files[at] for at in missing))
        new = {keys[at]: digest for at, digest in zip(missing, read, strict=True)}
    old = [at for at in missing if time.time() - files[at].stat().st_ctime > YOUNG]
    lasting = {keys[at]: new[keys[at]] for at in old if _key(files[at]) == keys[at]}
    if lasting:
        _remember({**known, **lasting})
    return [known.get(key) or new[key] for key in keys]


def unread_bytes(files: Sequence[Path]) -> int:
    """How many bytes `file_digests` would read, because they are not remembered."""
    known = _remembered()
    return sum(file.stat().st_size for file in files if _key(file) not in known)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _key(file: Path) -> str:
    real = file.resolve()
    stat = real.stat()
    parts = (os.fsencode(real), stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
    return short_digest([repr(parts)])


def _cache() -> Path:
    own = os.environ.get(CACHE)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(own) if own else folder / "lokr-weighting") / "digests.json"


def _remembered() -> dict[str, str]:
    try:
        known = json.loads(_cache().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return {}
    good = isinstance(known, dict) and all(isinstance(each, str) for each in known.values())
    return known if good else {}


def _remember(known: dict[str, str]) -> None:
    with suppress(OutputError, RuntimeError):
        write_text(_cache(), json.dumps(dict(list(known.items())[-REMEMBERED:])))
