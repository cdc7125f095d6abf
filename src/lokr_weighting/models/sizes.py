"""What sizes of images a pipeline is made for, by its configurations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lokr_weighting.files import read_model

ACROSS = 128  # latents of a model whose configuration does not say: 1024 pixels at a factor of 8


class _Vae(BaseModel):
    """Of `vae/config.json`; other keys are diffusers'."""

    block_out_channels: Annotated[list[Any], Field(min_length=1, max_length=8)]


class _Transformer(BaseModel):
    """Of `transformer/config.json`; other keys are diffusers'."""

    sample_size: Annotated[int, Field(ge=1, le=4096)] | None = None


@dataclass(frozen=True)
class Sizes:
    """Sizes in pixels.

    Attributes:
        resolution: the side of the images that the transformer was made for.
        multiple: what the sides of images must be multiples of: a patch of two latents.
    """

    resolution: int
    multiple: int


def read_sizes(pipeline: Path) -> Sizes:
    """A pipeline's sizes.

    Raises:
        LokrWeightingError: a configuration is missing or makes no sense; names file and key.
    """
    vae = read_model(pipeline / "vae" / "config.json", _Vae)
    transformer = read_model(pipeline / "transformer" / "config.json", _Transformer)
    scale = 2 ** (len(vae.block_out_channels) - 1)
    return Sizes((transformer.sample_size or ACROSS) * scale, 2 * scale)
