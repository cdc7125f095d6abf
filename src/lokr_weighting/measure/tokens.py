"""A stream's tokens in a sequence: where they are, and which of them count."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.layout import Layout


@dataclass(frozen=True)
class Tokens:
    """One stream's tokens in a sequence of (batch, all tokens) or (batch, all tokens, width).

    Attributes:
        places: where they are: the same of every sample, or each sample's, (batch, tokens) of int.
        real: which of them count, (batch, tokens) of bool; None: all.
    """

    # before Python 3.12 a slice is not hashable, and dataclasses take it for mutable
    places: slice | Tensor = field(default_factory=lambda: slice(None))
    real: Tensor | None = None

    def of(self, sequence: Tensor) -> Tensor:
        """The stream's part of a sequence."""
        if isinstance(self.places, slice):
            return sequence[:, self.places]
        places = self.places.to(sequence.device)
        return sequence.take_along_dim(places if sequence.ndim == 2 else places[..., None], dim=1)

    def mean(self, distance: Tensor) -> Tensor:
        """The mean of what counts of the stream's own distances, (batch, tokens) -> (batch,)."""
        if self.real is None:
            return distance.mean(dim=-1)
        real = self.real.to(distance.device)
        return distance.where(real, 0).sum(dim=-1) / real.sum(dim=-1)

    def last(self, distance: Tensor) -> Tensor:
        """The last token that counts, (batch, tokens) -> (batch,)."""
        if self.real is None:
            return distance[..., -1]
        places = torch.arange(self.real.shape[-1], device=distance.device)
        last = places.where(self.real.to(distance.device), 0).amax(dim=-1, keepdim=True)
        return distance.gather(-1, last)[..., 0]


def joined(
    order: Literal["text first", "image first"], shape: torch.Size, text_tokens: int, layout: Layout
) -> tuple[Tokens, Tokens]:
    """Where image and text are in a joined sequence.

    Args:
        order: which comes first.
        shape: the sequence's, (batch, all tokens).
        text_tokens: how many of its tokens are text, where samples are not packed.
        layout: the call's.
    """
    if layout.packed is not None:
        return _packed(order, shape[1], layout)
    image_tokens = shape[1] - text_tokens
    if order == "text first":
        image, text = slice(text_tokens, None), slice(text_tokens)
    else:
        image, text = slice(image_tokens), slice(image_tokens, None)
    return Tokens(image, layout.image), Tokens(text, layout.text)


def _packed(order: str, length: int, layout: Layout) -> tuple[Tokens, Tokens]:
    """As `joined`, where the second stream begins right behind each sample's own first."""
    assert layout.packed is not None
    assert layout.image is not None
    assert layout.text is not None
    images, texts = layout.packed
    before_text, before_image = (
        (images, torch.zeros_like(images))
        if order == "image first"
        else (torch.zeros_like(texts), texts)
    )

    def places(real: Tensor, before: Tensor) -> Tokens:
        own = torch.arange(real.shape[1], device=real.device)
        # behind a shorter sample there is nothing, and nothing of it counts
        return Tokens((own + before[:, None].to(real.device)).clamp(max=length - 1), real)

    return places(layout.image, before_image), places(layout.text, before_text)


def counted(mask: Tensor | None, distance: Tensor) -> Tensor | None:
    """Which tokens of the text stream a caller's mask counts; all where it leaves none.

    Tokens that the model puts in front of the caption count.

    Args:
        mask: (batch, caption tokens) of bool, or None.
        distance: the text stream's, (batch, tokens).

    Raises:
        LokrWeightingError: the mask has more tokens than the stream.
    """
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
