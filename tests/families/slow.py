"""A slow reference for every family: all hidden states kept, float64, arccos of normed vectors.

It knows nothing of the library's rows: what a block's streams are, and which of their tokens are
real, is written down by hand for each model.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Streams = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
"""Image before, image after, text before, text after: (batch, tokens, width) each."""
Read = Callable[[dict[str, Any], Any], Streams]
"""A block's arguments and output -> its streams."""
Real = Sequence[Sequence[int]] | None
"""The tokens that count, for each sample; None: all."""


def distances(
    model: nn.Module, inputs: dict[str, Any], reads: dict[str, Read]
) -> dict[str, tuple[Tensor | None, Tensor | None]]:
    """Each block's distances of every token of image and text, (batch, tokens), in float64.

    Args:
        model: the model.
        inputs: what it is called with.
        reads: a block list's path -> how to read its blocks.
    """
    found: dict[str, tuple[Tensor | None, Tensor | None]] = {}
    handles = []
    for path, read in reads.items():
        for number, block in enumerate(model.get_submodule(path).children()):
            handles += _watch(block, f"{path}.{number}", read, found)
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def mean_of(distance: Tensor | None, real: Real, sample: int) -> float:
    """One sample's mean over the tokens that count; NaN where there is no such stream."""
    if distance is None:
        return float("nan")
    own = distance[sample].numpy()
    return float(np.mean(own if real is None else own[list(real[sample])]))


def last_of(distance: Tensor, real: Real, sample: int) -> float:
    """One sample's last token that counts."""
    return float(distance[sample][-1 if real is None else max(real[sample])])


def _watch(block: nn.Module, name: str, read: Read, found: dict[str, Any]) -> list[Any]:
    before: dict[str, Any] = {}

    def keep(value: Any) -> Any:
        return value.clone() if isinstance(value, Tensor) else value

    def enter(module: nn.Module, args: Any, kwargs: Any) -> None:
        bound = inspect.signature(type(module).forward).bind_partial(module, *args, **kwargs)
        before.clear()
        before.update({key: keep(value) for key, value in bound.arguments.items()})

    def leave(_module: nn.Module, _args: Any, output: Any) -> None:
        image, image_after, text, text_after = read(before, output)
        found[name] = _angle(image, image_after), _angle(text, text_after)

    return [
        block.register_forward_pre_hook(enter, with_kwargs=True),
        block.register_forward_hook(leave),
    ]


def _angle(before: Tensor | None, after: Tensor | None) -> Tensor | None:
    """Each token's angle between before and after, over pi."""
    if before is None or after is None:
        return None
    one, other = (
        each.double() / each.double().norm(dim=-1, keepdim=True) for each in (before, after)
    )
    cosine = (one * other).sum(dim=-1)
    sine = (other - cosine[..., None] * one).norm(dim=-1)
    return (torch.atan2(sine, cosine) / torch.pi).flatten(1)


# How blocks of each kind are read.


def both(image: int, text: int) -> Read:
    """Two streams apart, and where they are in the output."""
    return lambda given, output: (
        given["hidden_states"],
        output[image],
        given["encoder_hidden_states"],
        output[text],
    )


def image_alone(name: str = "hidden_states", place: int | None = None) -> Read:
    """The image alone."""
    return lambda given, output: (
        given[name],
        output if place is None else output[place],
        None,
        None,
    )


def text_alone(name: str = "hidden_states") -> Read:
    """The text alone."""
    return lambda given, output: (None, None, given[name], output)


def as_one(text: slice, image: slice, name: str = "hidden_states", dim: int = 1) -> Read:
    """Both streams in one sequence; what is before and behind them is left out."""

    def read(given: dict[str, Any], output: Tensor) -> Streams:
        before, after = (
            each if dim == 1 else each.transpose(0, 1) for each in (given[name], output)
        )
        return before[:, image], after[:, image], before[:, text], after[:, text]

    return read
