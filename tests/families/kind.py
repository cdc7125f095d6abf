"""What is written down by hand for each class of models."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.families.inputs import BATCH, IMAGE, REAL_TEXT, TEXT
from tests.families.slow import Read, Real, as_one, both

JOINED = as_one(slice(TEXT), slice(TEXT, None))
TEXT_IMAGE, IMAGE_TEXT = both(1, 0), both(0, 1)
DOUBLE, SINGLE = "transformer_blocks", "single_transformer_blocks"
HEADS = {"attention_head_dim": 16, "num_attention_heads": 2}
ONE_LIST = {"num_layers": 2, **HEADS}
TWO_LISTS = {"num_single_layers": 2, **ONE_LIST}
AXES = {"axes_dims_rope": (4, 6, 6)}
ROPE = {"rope_axes_dim": (4, 6, 6)}
MASKED: dict[str, Real] = {"": REAL_TEXT}
MADE: dict[str, Real] = {"": [range(IMAGE)] * BATCH}
"""The image that is made, where a reference image stands behind it."""


@dataclass(frozen=True)
class Tiny:
    """One class of models.

    Attributes:
        config: what it is made with.
        inputs: what its forward is called with.
        reads: its block lists, in the order they run, and how their blocks are read.
        image: a list's path -> the image tokens that count; "": of all other lists.
        text: the same of the text.
    """

    config: dict[str, Any]
    inputs: Callable[[], dict[str, Any]]
    reads: dict[str, Read]
    image: dict[str, Real] = field(default_factory=dict)
    text: dict[str, Real] = field(default_factory=dict)

    def counted(self, block: str) -> tuple[Real, Real]:
        """The tokens of image and text that count in a block."""
        path = block.rpartition(".")[0]
        image, text = (real.get(path, real.get("")) for real in (self.image, self.text))
        return image, text
