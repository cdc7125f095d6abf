"""A caption as a pipeline's own text encoders make it, and which of its tokens are real."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from lokr_weighting.data.padding import TextPart, real_tokens, text_parts, token_mask
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.pipeline_call import PipelineCall, named

TEXT_LENGTH = "max_sequence_length"
"""What diffusers' pipelines call the number of tokens that a caption is padded or cut to."""

Embedding = Tensor | list[Tensor]
"""A call's argument for a caption, (1, tokens, width) or (1, width); some pipelines take a list of
(tokens, width), one for each caption."""


def encoded(
    pipeline: Any, call: PipelineCall, caption: str, device: torch.device, length: int | None = None
) -> tuple[dict[str, Embedding], Tensor | None]:
    """A caption's arguments of the call, and which of its tokens are real, (1, tokens) of bool.

    Args:
        pipeline: the pipeline; its text encoders are where they run.
        call: how it encodes.
        caption: the caption.
        device: where its text encoders are.
        length: how many tokens it is padded or cut to; None: the pipeline's own number.

    Returns:
        on the CPU; None for the tokens where nothing says which are real.

    Raises:
        LokrWeightingError: the pipeline's text cannot be given another length.
    """
    options = {**_defaults(pipeline, call), **call.encode, **_length(pipeline, length)}
    encoders = (call.masked_by,) if isinstance(call.masked_by, str) else call.masked_by or ()
    with ExitStack() as seen:
        masks = {
            name: seen.enter_context(_masks(getattr(pipeline, name)))
            for name in dict.fromkeys(encoders)
        }
        returned = pipeline.encode_prompt(prompt=caption, device=device, **options)
    embeddings: dict[str, Embedding] = {
        name: moved(value, torch.device("cpu"))
        for name, value in zip(call.returned, returned, strict=True)
        if name is not None and value is not None
    }
    text = embeddings[call.text]
    if isinstance(text, list):
        # captions keep their own lengths; what a model fills up itself, its call tells
        return embeddings, None
    if call.mask is not None:
        mask = embeddings.setdefault(call.mask, torch.ones(text.shape[:2], dtype=torch.long))
        assert isinstance(mask, Tensor)
        return embeddings, token_mask(mask, text).bool()
    if encoders and all(masks.values()):
        return embeddings, torch.cat([masks[name][0] for name in encoders], dim=1).bool().cpu()
    if call.tokenizers:
        return embeddings, real_tokens(_text_parts(pipeline, call, text.shape[1]), [caption])
    return embeddings, None


def moved(embedding: Embedding, device: torch.device) -> Embedding:
    """A caption's argument, on a device."""
    if isinstance(embedding, list):
        return [each.to(device) for each in embedding]
    return embedding.to(device)


def joined(embeddings: list[Embedding], how: str = "captions first") -> Embedding:
    """An argument of several captions as one batch; shorter ones get zeros to the longest.

    Args:
        embeddings: each caption's.
        how: how they lie in a batch, by name in `JOININGS`.

    Raises:
        LokrWeightingError: there is no such way.
    """
    lists = [each for each in embeddings if isinstance(each, list)]
    if lists:
        return [each for own in lists for each in own]
    join = named(JOININGS, "joining", how)
    return join([each for each in embeddings if isinstance(each, Tensor)])


def _captions_first(tensors: list[Tensor]) -> Tensor:
    longest = max(each.shape[1] for each in tensors)
    padded = [
        torch.cat([each, each.new_zeros(1, longest - each.shape[1], *each.shape[2:])], dim=1)
        if each.shape[1] < longest
        else each
        for each in tensors
    ]
    return torch.cat(padded)


def _layers_first(tensors: list[Tensor]) -> Tensor:
    return torch.cat(tensors, dim=1)


def _bounds(tensors: list[Tensor]) -> Tensor:
    lengths = torch.cat([each.diff() for each in tensors]).cumsum(0).to(tensors[0].dtype)
    return torch.cat([tensors[0][:1], lengths])


JOININGS: Mapping[str, Callable[[list[Tensor]], Tensor]] = {
    # (captions, ...)
    "captions first": _captions_first,
    # (layers, captions, tokens, width)
    "layers first": _layers_first,
    # where each caption begins in all of them one behind the other, and where the last ends
    "bounds": _bounds,
}


@contextmanager
def _masks(encoder: torch.nn.Module) -> Iterator[list[Tensor]]:
    """Within, what the encoder is called with as its attention mask is kept."""
    masks: list[Tensor] = []

    def enter(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        masks.append(kwargs["attention_mask"])

    handle = encoder.register_forward_pre_hook(enter, with_kwargs=True)
    try:
        yield masks
    finally:
        handle.remove()


def _defaults(pipeline: Any, call: PipelineCall) -> dict[str, Any]:
    """What the pipeline's call hands to `encode_prompt` when it is not told otherwise."""
    if not call.defaults:
        return {}
    parameters = inspect.signature(type(pipeline).__call__).parameters
    return {name: parameters[name].default for name in call.defaults}


def _length(pipeline: Any, length: int | None) -> dict[str, int]:
    if length is None:
        return {}
    if TEXT_LENGTH not in inspect.signature(pipeline.encode_prompt).parameters:
        raise LokrWeightingError(
            f"{type(pipeline).__name__} does not say how long its text is ({TEXT_LENGTH})"
        )
    return {TEXT_LENGTH: length}


def _text_parts(pipeline: Any, call: PipelineCall, tokens: int) -> list[TextPart]:
    """The parts of a text of so many tokens."""
    tokenizers = [
        [
            getattr(pipeline, name)
            for name in names
            # without its encoder the pipeline puts zeros there
            if getattr(pipeline, name.replace("tokenizer", "text_encoder")) is not None
        ]
        for names in call.tokenizers
    ]
    # only a text of several parts has one of CLIP's length
    clip_tokens = getattr(pipeline, "tokenizer_max_length", 0)
    return text_parts(tokenizers, clip_tokens, tokens)
