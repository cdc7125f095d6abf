"""The processes of one launch: one for each GPU, or one alone."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

Found = TypeVar("Found")


def is_main() -> bool:
    """Whether this process is the one that speaks and writes; asks no library."""
    return os.environ.get("RANK", "0") == "0"


def joined(device: str | None) -> "tuple[PartialState, torch.device]":
    """Join the other processes of the launch; their state, and where this one runs.

    Args:
        device: "cuda", "cpu", ...; by default this process's GPU where there is one.

    Raises:
        LokrWeightingError: accelerate does not join all processes that were launched.
    """
    import torch
    from accelerate import PartialState

    # without a GPU accelerate joins processes only where it is told to use the CPU
    state = PartialState(cpu=device == "cpu" or not torch.accelerator.is_available())
    if state.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
        raise LokrWeightingError(
            f"launched as {os.environ['WORLD_SIZE']} processes, but accelerate joins "
            f"{state.num_processes}: check `accelerate config`"
        )
    return state, torch.device(device or str(state.device))


def in_order(found: Sequence[tuple[int, Found]]) -> list[Found]:
    """What all processes found, by number."""
    from accelerate.utils import gather_object

    return [each for _, each in sorted(gather_object(list(found)), key=lambda pair: pair[0])]
