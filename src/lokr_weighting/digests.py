"""Short fingerprints: equal for equal content."""

import hashlib
from collections.abc import Iterable

DIGITS = 16


def short_digest(parts: Iterable[bytes | str]) -> str:
    """The first 16 hex digits of the sha256 over all parts, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:DIGITS]
