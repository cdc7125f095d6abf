"""The batches of a training loop: numbered as samples, and known again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from lokr_weighting.digests import short_digest
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.identity import sampled_parts


def numbered(
    batches: Iterable[Any], stop: Stop, bins: int, done: int = 0
) -> Iterator[tuple[range, range, Any]]:
    """Batches without end, with the numbers of their samples.

    What of a batch lies beyond the next judgement is left out, so that the same batches always
    give the same samples, wherever an earlier run was ended.

    Args:
        batches: begun again when they end.
        stop: when the plan is judged.
        bins: timestep bins.
        done: samples that are there already; batches that hold no others are passed over.

    Yields:
        the numbers of the batch's samples, those of them that are wanted, the batch.

    Raises:
        LokrWeightingError: there are no batches.
    """
    first = 0
    for batch in _endless(batches):
        numbers = range(first, first + (batch_size(batch) or 1))
        end = min(numbers.stop, stop.next_check(first + 1, bins))
        if end > done:
            yield numbers, range(max(first, done), end), batch
        first = end


def content_of(batches: Iterable[Any]) -> str:
    """What is known of batches: a fingerprint of those in memory, else how many there are.

    Those that are read or made while they are asked for cannot be known without changing them.
    """
    held = batches.dataset if isinstance(batches, DataLoader) else batches
    if isinstance(held, list | tuple):
        return short_digest(_parts(held))
    try:
        return f"{len(held)} of {type(held).__name__}"  # pyright: ignore[reportArgumentType]
    except TypeError:
        return type(held).__name__


def batch_size(batch: Any) -> int | None:
    """How many samples a batch has: the length of its first tensor, wherever it is.

    accelerate's `find_batch_size` fails where captions come first.
    """
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else None
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if not isinstance(batch, list | tuple):
        return None
    return next((size for each in batch if (size := batch_size(each)) is not None), None)


def _parts(value: Any) -> Iterator[bytes | str]:
    """Whatever decides what a value is, as far as it is tensors and plain values."""
    if isinstance(value, Tensor):
        yield from sampled_parts(value)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield repr(key)
            yield from _parts(each)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        yield f"{type(value).__name__} {len(value)}"
        for each in value:
            yield from _parts(each)
    elif isinstance(value, str | bytes | int | float | None):
        yield repr(value)
    else:
        # an object's text may hold where it lies in memory
        yield type(value).__name__


def _endless(batches: Iterable[Any]) -> Iterator[Any]:
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise LokrWeightingError("there are no more batches: give a data loader or a list")
