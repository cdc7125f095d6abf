"""How one call of a model lays out its tokens: which are whose, and which of them count."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.family import Family

Arguments = Mapping[str, Any]
"""What a model's forward was called with, by name."""


@dataclass(frozen=True)
class Layout:
    """The tokens of one call, as far as the call itself tells.

    Attributes:
        image: which image tokens are of the image that is made, and neither padding nor of a
            reference image, (batch, tokens) of bool; None: all.
        text: which text tokens are no padding, (batch, tokens) of bool; None: not known.
        text_tokens: how many text tokens a joined sequence holds; None: as many as the last block
            that had the text by itself.
        packed: how many tokens of the image and of the text each sample has in a joined sequence,
            (batch,) of int each, where the second stream begins right behind the sample's own
            first; None: every sample has as many.
    """

    image: Tensor | None = None
    text: Tensor | None = None
    text_tokens: int | None = None
    packed: tuple[Tensor, Tensor] | None = None


LayoutReader = Callable[[nn.Module, Arguments, Layout], Layout]
"""A model, its call, and what the family's row tells of it -> the call's layout."""


def layout_by_row(family: Family, arguments: Arguments) -> Layout:
    """What the arguments that a family's row names tell of the text.

    Raises:
        LokrWeightingError: the call lacks the argument that tells how many tokens are text.
    """
    if family.text_argument is None:
        return Layout()
    text = arguments.get(family.text_argument)
    if not isinstance(text, Tensor):
        raise LokrWeightingError(
            f"{family.name} is called without {family.text_argument!r}, which tells how many of "
            "its tokens are text"
        )
    count = text.shape[1]
    mask = None if family.text_mask is None else arguments.get(family.text_mask)
    return Layout(None, None if mask is None else mask[:, :count].bool(), count)
