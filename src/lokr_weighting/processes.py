"""The processes of one launch: one for each GPU, or one alone."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

Result = TypeVar("Result")


def is_main() -> bool:
    """Whether this process is the one that speaks and writes; asks no library."""
    return os.environ.get("RANK", "0") == "0"


def joined(device: str | None) -> "tuple[PartialState, torch.device]":
    """Join the other processes of the launch; their state, and where this one runs.

    Args:
        device: "cuda", "cpu", ...; by default this process's GPU where there is one.

    Raises:
        LokrWeightingError: there is no such device, or accelerate does not join all processes that
            were launched.
    """
    import torch
    from accelerate import PartialState

    if device is not None:
        _check_device(device)

    # without a GPU accelerate joins processes only where it is told to use the CPU
    state = PartialState(cpu=device == "cpu" or not torch.accelerator.is_available())
    if state.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
        raise LokrWeightingError(
            f"launched as {os.environ['WORLD_SIZE']} processes, but accelerate joins "
            f"{state.num_processes}: check `accelerate config`"
        )
    return state, torch.device(device or str(state.device))


def _check_device(device: str) -> None:
    """Put something there: that is what tells a device that is built in from one that is there."""
    import torch

    try:
        if torch.empty(1, device=device).device.type == "meta":
            raise LokrWeightingError(f"device = {device!r}: holds no numbers")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = " ".join(str(error).splitlines()[:1])
        raise LokrWeightingError(
            f"device = {device!r}: cannot be used here ({reason}); use cpu, cuda, cuda:1, ..."
        ) from None


def in_order(numbered: Sequence[tuple[int, Result]]) -> list[Result]:
    """The results of all processes, by their numbers."""
    from accelerate.utils import gather_object

    return [each for _, each in sorted(gather_object(list(numbered)), key=lambda pair: pair[0])]


def tried(do: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
    """What it gives, or the error: the other processes must hear of it before it is raised."""
    try:
        return do(*args), None
    except Exception as error:
        return None, error


def raise_together(error: Exception | None) -> None:
    """Raise this process's error; where only another process has one, say so.

    Raises:
        LokrWeightingError: another process failed.
    """
    from accelerate.utils import gather_object

    texts = gather_object([None if error is None else f"{type(error).__name__}: {error}"])
    if error is not None:
        raise error
    for process, text in enumerate(texts):
        if text is not None:
            raise LokrWeightingError(f"process {process} failed: {text}")


def from_main(main: bool, do: Callable[..., Result], *args: Any) -> Result:
    """What the first process gets from this call, in all of them.

    Args:
        main: whether this is the first process.
        do: what it does.
        args: with these.

    Raises:
        LokrWeightingError: it failed there.
    """
    from accelerate.utils import broadcast_object_list

    result, error = tried(do, *args) if main else (None, None)
    raise_together(error)
    shared: list[Any] = [result]
    broadcast_object_list(shared)
    return shared[0]
