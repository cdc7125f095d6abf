"""The probe: records each block's angular distances while a model runs."""

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.angles import angular_distance
from lokr_weighting.measure.compared_tokens import ComparedTokens
from lokr_weighting.measure.distances import Distances
from lokr_weighting.models.blocks import Block, blocks_of
from lokr_weighting.models.table import family_of


@dataclass(frozen=True)
class _Stream:
    """One stream at a block's entry; `version` counts changes in place."""

    tokens: Tensor
    version: int | None

    @classmethod
    def of(cls, tokens: Tensor) -> Self:
        return cls(tokens, None if tokens.is_inference() else tokens._version)

    @property
    def changed(self) -> bool:
        return self.version is not None and self.tokens._version != self.version


class Probe:
    """Measures every block of a model while it runs; a context manager.

    Nothing is kept but a few numbers for each block; they stay on the device until the forward
    has ended. The model is as before once the context is left, also after an exception.

    Example, a batch of 2 through a model of 38 blocks:
        with Probe(transformer) as probe, torch.no_grad():
            distances = probe.measure(lambda: transformer(...), text_mask=mask)
        distances.image  # (2, 38)

    Args:
        model: a transformer of a known family (see `register_family`).
        similarity: gather the similarity of every pair of blocks too, from a few tokens of each
            stream that are kept until the forward has ended.

    Attributes:
        blocks: the model's blocks, in the order of the distances.

    Raises:
        LokrWeightingError: the model's family is not known.
    """

    def __init__(self, model: nn.Module, *, similarity: bool = False) -> None:
        self.model = model
        self.similarity = similarity
        self.blocks = blocks_of(model)
        self._samples: Sequence[int] | None = None
        self._text_mask: Tensor | None = None
        self._reference_tokens = 0
        self._entered: dict[str, tuple[_Stream, _Stream | None]] = {}
        self._numbers: dict[str, Tensor] = {}
        self._has_text: dict[str, bool] = {}
        self._text_tokens: int | None = None
        self._image_tokens, self._caption_tokens = ComparedTokens(), ComparedTokens()
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        for block in self.blocks:

            def enter(_module: nn.Module, args: Any, kwargs: Any, block: Block = block) -> None:
                self._enter(block, type(block.module).forward, args, kwargs)

            def leave(_module: nn.Module, _args: Any, output: Any, block: Block = block) -> None:
                self._leave(block, output)

            before = block.module.register_forward_pre_hook(enter, with_kwargs=True)
            after = block.module.register_forward_hook(leave)
            self._undo.callback(before.remove)
            self._undo.callback(after.remove)
        module = sys.modules[type(self.model).__module__]
        for name in family_of(self.model).functions:
            function = getattr(module, name)
            setattr(module, name, self._watched(function))
            self._undo.callback(setattr, module, name, function)
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()
        self._clear()

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function of a block, measuring the blocks of this model."""
        blocks = {id(block.module): block for block in self.blocks}

        @functools.wraps(function)
        def run(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            block = blocks.get(id(module))
            if block is not None:
                self._enter(block, function, args, kwargs)
            output = function(module, *args, **kwargs)
            if block is not None:
                self._leave(block, output)
            return output

        return run

    def measure(
        self,
        forward: Callable[[], Any],
        *,
        samples: Sequence[int] | None = None,
        text_mask: Tensor | None = None,
        reference_tokens: int = 0,
    ) -> Distances:
        """The distances of one forward.

        Args:
            forward: runs the model once.
            samples: the batch's samples by number, where similarity is gathered; they decide which
                tokens are compared.
            text_mask: which caption tokens are real, (batch, tokens) of bool, where that is known:
                padding is left out of the text's mean. Tokens that the model puts in front of the
                caption count as real.
            reference_tokens: how many tokens at the end of the image stream are of reference
                images and not of the one that is made (Flux Kontext): they do not count.

        Raises:
            LokrWeightingError: as `take`, or the mask has more tokens than the text stream.
        """
        self._samples, self._text_mask = samples, text_mask
        self._reference_tokens = reference_tokens
        try:
            forward()
            return self.take()
        finally:
            self._clear()

    def take(self) -> Distances:
        """The distances of a forward that just ran otherwise; waits for the device once.

        With similarity it waits once more for each stream.

        Raises:
            LokrWeightingError: a block did not run: this model does not call its blocks.
        """
        absent = [block.name for block in self.blocks if block.name not in self._numbers]
        if absent:
            self._clear()
            raise LokrWeightingError(
                f"{len(absent)} of {len(self.blocks)} blocks did not run ({absent[0]}, ...): "
                "the model was not run inside the probe, or it skips them"
            )
        tensors = [self._numbers[block.name] for block in self.blocks]
        device = tensors[0].device
        stacked = torch.stack([tensor.to(device) for tensor in tensors], dim=-1)
        image, image_last, text, text_last = stacked.cpu().numpy()
        names = [block.name for block in self.blocks]
        has_text = np.array([self._has_text[name] for name in names])
        pairs = ()
        if self.similarity:
            both = (self._image_tokens, self._caption_tokens)
            pairs = (each.take(names, len(image)) for each in both)
        distances = Distances(image, text, image_last, text_last, has_text, *pairs)
        self._clear()
        return distances

    def _clear(self) -> None:
        self._samples = self._text_mask = None
        self._reference_tokens = 0
        self._entered.clear()
        self._numbers.clear()
        self._has_text.clear()
        self._text_tokens = None
        self._image_tokens, self._caption_tokens = ComparedTokens(), ComparedTokens()

    def _enter(
        self,
        block: Block,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        image = _argument(block, block.streams.image_in, function, args, kwargs)
        text = None
        if block.streams.text_in is not None:
            tokens = _argument(block, block.streams.text_in, function, args, kwargs)
            text = _Stream.of(tokens)
            self._text_tokens = tokens.shape[-2]
        self._entered[block.name] = (_Stream.of(image), text)

    def _leave(self, block: Block, output: Any) -> None:
        entered, entered_text = self._entered.pop(block.name)
        if block.name in self._numbers:
            raise LokrWeightingError(
                f"{block.name} ran twice: call take() after every forward of the model"
            )
        if entered.changed or (entered_text is not None and entered_text.changed):
            raise LokrWeightingError(
                f"{block.name} changes its input in place, so its distance cannot be measured"
            )
        streams = block.streams
        image_out = output if streams.image_out is None else output[streams.image_out]
        text_out = None
        image_distance = _distance(entered.tokens, image_out)
        text_distance = None
        if streams.joined:
            image, text = self._places(block)
            image_distance, text_distance = image_distance[:, image], image_distance[:, text]
            image_out, text_out = image_out[:, image], image_out[:, text]
        elif entered_text is not None and streams.text_out is not None:
            text_out = output[streams.text_out]
            if text_out is not None:
                text_distance = _distance(entered_text.tokens, text_out)
        if self._reference_tokens:
            made = image_distance.shape[1] - self._reference_tokens
            image_distance, image_out = image_distance[:, :made], image_out[:, :made]
        self._has_text[block.name] = text_distance is not None
        image_numbers = [image_distance.mean(dim=-1), image_distance[..., -1]]
        if text_distance is None:
            real = None
            text_numbers = [torch.full_like(image_numbers[0], torch.nan)] * 2
        else:
            real = _real_tokens(self._text_mask, text_distance)
            text_numbers = [_masked_mean(text_distance, real), text_distance[..., -1]]
        self._numbers[block.name] = torch.stack(image_numbers + text_numbers)
        if self.similarity:
            self._image_tokens.keep(block.name, image_out, None, self._samples)
            if text_out is not None:
                self._caption_tokens.keep(block.name, text_out, real, self._samples)

    def _places(self, block: Block) -> tuple[slice, slice]:
        """Where image and text are in a joined sequence."""
        count = self._text_tokens
        if count is None:
            raise LokrWeightingError(
                f"{block.name}: no block before it shows how many of its tokens are text"
            )
        if block.streams.joined == "text first":
            return slice(count, None), slice(count)
        return slice(-count), slice(-count, None)


def _argument(
    block: Block,
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Tensor:
    """The argument of that name of a function that runs the block, however it was passed."""
    if name in kwargs:
        return kwargs[name]
    names = list(inspect.signature(function).parameters)[1:]
    if name in names and names.index(name) < len(args):
        return args[names.index(name)]
    raise LokrWeightingError(
        f"{block.name} ({type(block.module).__name__}) is called without {name!r}; "
        f"{function.__name__} has {', '.join(names)}: correct its family's row"
    )


def _distance(before: Tensor, after: Tensor) -> Tensor:
    """Token distances, (batch, tokens), without a graph."""
    with torch.no_grad():
        return angular_distance(before.detach(), after.detach().to(before.device))


def _real_tokens(mask: Tensor | None, distance: Tensor) -> Tensor | None:
    """Which tokens of the text stream count; all where no mask is known or it leaves none."""
    if mask is None:
        return None
    in_front = distance.shape[-1] - mask.shape[-1]
    if in_front < 0:
        raise LokrWeightingError(
            f"text_mask has {mask.shape[-1]} tokens, the text stream only {distance.shape[-1]}"
        )
    real = mask.to(distance.device, torch.bool)
    real = real | ~real.any(dim=-1, keepdim=True)
    return nn.functional.pad(real, (in_front, 0), value=True)


def _masked_mean(distance: Tensor, real: Tensor | None) -> Tensor:
    """The mean over real tokens."""
    if real is None:
        return distance.mean(dim=-1)
    return distance.where(real, 0).sum(dim=-1) / real.sum(dim=-1)
