"""What of one stream goes through one block: its tokens, their distances, what is handed on."""

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.angles import angular_distance
from lokr_weighting.measure.layout import Layout
from lokr_weighting.measure.tokens import Tokens, counted, joined


@dataclass(frozen=True)
class Entered:
    """One stream at a block's entry; `version` counts changes in place."""

    tokens: Tensor
    version: int | None

    @classmethod
    def of(cls, tokens: Tensor) -> Self:
        """The stream as it is now."""
        return cls(tokens, None if tokens.is_inference() else tokens._version)

    @property
    def changed(self) -> bool:
        """Whether it was changed in place since."""
        return self.version is not None and self.tokens._version != self.version


@dataclass(frozen=True)
class Part:
    """One stream at one block.

    Attributes:
        tokens: where they are in the block's sequence, and which count.
        distance: of each of the stream's tokens, (batch, tokens), in [0, 1].
        output: the stream behind the block, (batch, tokens, width).
        packed: whether the last token of all differs from sample to sample.
    """

    tokens: Tokens
    distance: Tensor
    output: Tensor
    packed: bool = False

    @property
    def mean(self) -> Tensor:
        """The mean over the tokens that count, (batch,)."""
        return self.tokens.mean(self.distance)

    @property
    def last(self) -> Tensor:
        """The last token's, counted or not, (batch,)."""
        return self.last_real if self.packed else self.distance[..., -1]

    @property
    def last_real(self) -> Tensor:
        """The last token's that counts, (batch,)."""
        return self.tokens.last(self.distance)

    def without_last(self, count: int) -> Self:
        """The same without its last tokens, all others counting."""
        made = self.distance.shape[1] - count
        return replace(
            self, tokens=Tokens(), distance=self.distance[:, :made], output=self.output[:, :made]
        )


def image_part(block: str, before: Tensor, after: Tensor, layout: Layout) -> Part:
    """The image of a block that has it by itself.

    Raises:
        LokrWeightingError: the block has other tokens than its model's call says.
    """
    tokens = Tokens(real=layout.image)
    return _checked(block, "image", Part(tokens, _distance(before, after), _flat(after)))


def text_part(
    block: str, before: Tensor, after: Tensor, layout: Layout, mask: Tensor | None
) -> Part:
    """The text of a block that has it by itself; a caller's mask counts beside the call's own.

    Raises:
        LokrWeightingError: as `image_part`, or the caller's mask has more tokens than the text.
    """
    part = Part(Tokens(real=layout.text), _distance(before, after), _flat(after))
    return _masked(_checked(block, "text", part), mask)


def joined_parts(
    block: str,
    order: Literal["text first", "image first"],
    before: Tensor,
    after: Tensor,
    text_tokens: int,
    layout: Layout,
    mask: Tensor | None,
) -> tuple[Part, Part]:
    """Image and text of a block that has both in one sequence.

    Raises:
        LokrWeightingError: as `text_part`.
    """
    distance = _distance(before, after)
    packed = layout.packed is not None
    image, text = (
        _checked(block, stream, Part(tokens, tokens.of(distance), tokens.of(after), packed))
        for stream, tokens in zip(
            ("image", "text"), joined(order, distance.shape, text_tokens, layout), strict=True
        )
    )
    return image, text if packed else _masked(text, mask)


def _masked(text: Part, mask: Tensor | None) -> Part:
    """The text with what a caller's mask counts; only what the call's own counts too."""
    real, own = counted(mask, text.distance), text.tokens.real
    if real is not None and own is not None:
        real = real & own.to(real.device)
    return replace(text, tokens=Tokens(text.tokens.places, own if real is None else real))


def _checked(block: str, stream: str, part: Part) -> Part:
    real = part.tokens.real
    if real is not None and real.shape != part.distance.shape:
        raise LokrWeightingError(
            f"{block} has {tuple(part.distance.shape)} (batch, {stream} tokens), its model's call "
            f"says {tuple(real.shape)}: which of them are padding cannot be told"
        )
    return part


def _flat(tokens: Tensor) -> Tensor:
    """Tokens on a grid in one row: (batch, ..., width) -> (batch, tokens, width)."""
    return tokens if tokens.ndim == 3 else tokens.flatten(1, -2)


def _distance(before: Tensor, after: Tensor) -> Tensor:
    """Token distances, (batch, tokens), without a graph."""
    with torch.no_grad():
        found = angular_distance(before.detach(), after.detach().to(before.device))
    return found if found.ndim == 2 else found.flatten(1)
