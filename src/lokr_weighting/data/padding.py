"""Which of a caption's tokens are real, and which only fill it up to its length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TextPart:
    """One part of a model's text, which is padded for itself.

    Attributes:
        tokenizers: the tokenizers whose encoders' outputs lie side by side in it; none where the
            model runs without these encoders, and its embeddings are zeros.
        length: its number of tokens.
    """

    tokenizers: tuple[Any, ...]
    length: int


def text_parts(
    tokenizers: Sequence[Sequence[Any]], clip_tokens: int, tokens: int
) -> list[TextPart]:
    """The parts of a text of so many tokens; all but the last are as long as CLIP's.

    Args:
        tokenizers: of each part.
        clip_tokens: how long CLIP's text is.
        tokens: how long the whole is.
    """
    lengths = [clip_tokens] * (len(tokenizers) - 1)
    lengths.append(tokens - sum(lengths))
    return [TextPart(tuple(own), length) for own, length in zip(tokenizers, lengths, strict=True)]


def real_tokens(parts: Sequence[TextPart], captions: Sequence[str]) -> Tensor:
    """Which tokens of captions are real, (batch, tokens) of bool.

    A token is real where one of its part's tokenizers does not call it padding: the marks of a
    text's beginning and end are real.

    Args:
        parts: the parts of the model's text, in their order.
        captions: a batch of captions.
    """
    masks = []
    for part in parts:
        real = torch.zeros(len(captions), part.length, dtype=torch.bool)
        for tokenizer in part.tokenizers:
            tokens = tokenizer(
                list(captions),
                padding="max_length",
                max_length=part.length,
                truncation=True,
                return_tensors="pt",
            )
            real |= tokens.attention_mask.bool()
        masks.append(real)
    return torch.cat(masks, dim=-1)


def token_mask(mask: Tensor, embeddings: Tensor) -> Tensor:
    """Which tokens are real, (batch, tokens), of a mask with an entry for each token or more.

    AuraFlow's mask, (batch, tokens, width), repeats each token's entry over the embedding's width.

    Args:
        mask: (batch, tokens, ...) or anything that reshapes to it.
        embeddings: (batch, tokens, width).
    """
    return mask.reshape(*embeddings.shape[:2], -1)[..., 0]
