"""The probe: records each block's angular distances while a model runs."""

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.compared_tokens import ComparedTokens
from lokr_weighting.measure.distances import Distances
from lokr_weighting.measure.layout import Layout, layout_by_row
from lokr_weighting.measure.layouts import layout_reader
from lokr_weighting.measure.parts import Entered, Part, image_part, joined_parts, text_part
from lokr_weighting.models.arguments import argument, arguments_of
from lokr_weighting.models.blocks import Block, blocks_of
from lokr_weighting.models.table import family_of


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
        family: the model's family.

    Raises:
        LokrWeightingError: the model's family is not known.
    """

    def __init__(self, model: nn.Module, *, similarity: bool = False) -> None:
        self.model = model
        self.similarity = similarity
        self.blocks = blocks_of(model)
        self.family = family_of(model)
        self._read_layout = layout_reader(self.family)
        self._samples: Sequence[int] | None = None
        self._text_mask: Tensor | None = None
        self._reference_tokens = 0
        row = self.family
        self._no_layout = None if row.layout or row.text_argument else Layout()
        self._layout = self._no_layout
        self._entered: dict[str, tuple[Entered | None, Entered | None]] = {}
        self._numbers: dict[str, Tensor] = {}
        self._has_image: dict[str, bool] = {}
        self._has_text: dict[str, bool] = {}
        self._text_tokens: int | None = None
        self._image_tokens, self._caption_tokens = ComparedTokens(), ComparedTokens()
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        if self._no_layout is None:
            begin = self.model.register_forward_pre_hook(self._begin, with_kwargs=True)
            self._undo.callback(begin.remove)
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
        for name in self.family.functions:
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
        image, image_last, text, text_last, text_last_real = stacked.cpu().numpy()
        names = [block.name for block in self.blocks]
        has_image, has_text = (
            np.array([has[name] for name in names]) for has in (self._has_image, self._has_text)
        )
        pairs = ()
        if self.similarity:
            both = (self._image_tokens, self._caption_tokens)
            pairs = (each.take(names, len(image)) for each in both)
        means = image, text
        ends = image_last, text_last, text_last_real
        distances = Distances(*means, *ends, has_image, has_text, *pairs)
        self._clear()
        return distances

    def _clear(self) -> None:
        self._samples = self._text_mask = None
        self._reference_tokens = 0
        self._layout = self._no_layout
        self._entered.clear()
        self._numbers.clear()
        self._has_image.clear()
        self._has_text.clear()
        self._text_tokens = None
        self._image_tokens, self._caption_tokens = ComparedTokens(), ComparedTokens()

    def _begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        arguments = arguments_of(model, args, kwargs)
        self._layout = self._read_layout(model, arguments, layout_by_row(self.family, arguments))

    def _enter(
        self,
        block: Block,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        def stream(name: str | None) -> Entered | None:
            if name is None:
                return None
            called = f"{block.name} ({type(block.module).__name__})"
            return Entered.of(argument(name, function, args, kwargs, called))

        image, text = stream(block.streams.image_in), stream(block.streams.text_in)
        if text is not None:
            self._text_tokens = text.tokens.shape[-2]
        self._entered[block.name] = image, text

    def _leave(self, block: Block, output: Any) -> None:
        entered = self._entered.pop(block.name)
        if block.name in self._numbers:
            raise LokrWeightingError(
                f"{block.name} ran twice: call take() after every forward of the model"
            )
        if any(stream is not None and stream.changed for stream in entered):
            raise LokrWeightingError(
                f"{block.name} changes its input in place, so its distance cannot be measured"
            )
        image, text = self._parts(block, entered, output)
        if image is not None and self._reference_tokens:
            image = image.without_last(self._reference_tokens)
        self._has_image[block.name], self._has_text[block.name] = (
            image is not None,
            text is not None,
        )
        found = image or text
        assert found is not None
        missing = torch.full_like(found.mean, torch.nan)
        image_numbers = [missing] * 2 if image is None else [image.mean, image.last_real]
        text_numbers = [missing] * 3 if text is None else [text.mean, text.last, text.last_real]
        self._numbers[block.name] = torch.stack(image_numbers + text_numbers)
        if self.similarity:
            for part, kept in ((image, self._image_tokens), (text, self._caption_tokens)):
                if part is not None:
                    kept.keep(block.name, part.output, part.tokens.real, self._samples)

    def _parts(
        self, block: Block, entered: tuple[Entered | None, Entered | None], output: Any
    ) -> tuple[Part | None, Part | None]:
        """What of each stream goes through a block: image, text; None where it has none."""
        streams, (image_in, text_in) = block.streams, entered
        layout, name = self._layout, block.name
        if layout is None:
            raise LokrWeightingError(
                f"{name} ran outside a call of its model, which tells which tokens count: call "
                "model(...), not model.forward(...)"
            )
        if image_in is None:
            assert text_in is not None
            return None, text_part(
                name,
                text_in.tokens,
                _chosen(name, output, streams.text_out),
                layout,
                self._text_mask,
            )
        image_out = _chosen(name, output, streams.image_out)
        if streams.joined:
            count = self._text_tokens if layout.text_tokens is None else layout.text_tokens
            if count is None and layout.packed is None:
                raise LokrWeightingError(
                    f"{name}: no block before it shows how many of its tokens are text"
                )
            tokens = image_in.tokens
            if streams.tokens_first:
                tokens, image_out = tokens.transpose(0, 1), image_out.transpose(0, 1)
            return joined_parts(
                name, streams.joined, tokens, image_out, count or 0, layout, self._text_mask
            )
        image = image_part(name, image_in.tokens, image_out, layout)
        place = streams.text_out
        text_out = None if place is None else _chosen(name, output, place)
        if text_in is None or text_out is None:
            return image, None
        return image, text_part(name, text_in.tokens, text_out, layout, self._text_mask)


def _chosen(block: str, output: Any, place: int | None) -> Tensor:
    """A stream in a block's output."""
    if isinstance(output, Tensor) != (place is None):
        made = "one tensor" if isinstance(output, Tensor) else f"{len(output)} values"
        raise LokrWeightingError(
            f"{block} gives {made}, but its family's row says a stream is at {place}: correct it"
        )
    return output if place is None else output[place]
