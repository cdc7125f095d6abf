"""Processes that act as one: all hear of an error before any of them raises it."""

from collections.abc import Callable
from typing import Any

from accelerate.utils import broadcast_object_list, gather_object

from lokr_weighting.errors import LokrWeightingError


def tried(do: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """What it gives, or the error: the other processes must hear of it before it is raised."""
    try:
        return do(*args), None
    except Exception as error:
        return None, error


def raise_together(error: Exception | None) -> None:
    """Raise this process's error; where only another process has one, say so."""
    texts = gather_object([None if error is None else f"{type(error).__name__}: {error}"])
    if error is not None:
        raise error
    for process, text in enumerate(texts):
        if text is not None:
            raise LokrWeightingError(f"process {process} failed: {text}")


def from_main(main: bool, do: Callable[..., Any], *args: Any) -> Any:
    """What the first process finds, in all of them."""
    found, error = tried(do, *args) if main else (None, None)
    raise_together(error)
    shared = [found]
    broadcast_object_list(shared)
    return shared[0]
