"""What sizes of images a pipeline is made for, by its configurations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

from lokr_weighting.files import read_json, read_model

ACROSS = 128  # latents of a model whose configuration does not say: 1024 pixels at a factor of 8
Levels = Annotated[list[Any], Field(min_length=1, max_length=8)]
Side = Annotated[int, Field(ge=1, le=128)]

SCALES: Mapping[str, tuple[Any, Callable[[Any], int]]] = {
    "scale_factor_spatial": (Side, int),
    "encoder_block_out_channels": (Levels, lambda levels: 2 ** (len(levels) - 1)),
    "block_out_channels": (Levels, lambda levels: 2 ** (len(levels) - 1)),
    "temperal_downsample": (Levels, lambda levels: 2 ** len(levels)),
}
"""What VAEs say of their scale, the first that is there: its type, and pixels on a latent's side.
(Diffusers writes "temperal".)"""
USUAL = "block_out_channels"


class _Model(BaseModel):
    """Of a transformer's or UNet's configuration; other keys are diffusers'."""

    sample_size: Annotated[int, Field(ge=1, le=4096)] | None = None


@dataclass(frozen=True)
class Sizes:
    """Sizes in pixels.

    Attributes:
        resolution: the side of the images that the model was made for.
        multiple: what the sides of images must be multiples of: a patch of latents.
    """

    resolution: int
    multiple: int


def read_sizes(
    pipeline: Path,
    model: str = "transformer",
    *,
    patch: int = 2,
    otherwise: int | None = None,
) -> Sizes:
    """A pipeline's sizes.

    Args:
        pipeline: its folder.
        model: what it calls its model.
        patch: latents on a patch's side.
        otherwise: the resolution where the model's configuration says none.

    Raises:
        LokrWeightingError: a configuration is missing or makes no sense; names file and key.
    """
    vae = pipeline / "vae" / "config.json"
    there = read_json(vae)
    key = next((name for name in SCALES if there.get(name) is not None), USUAL)
    kind, scale_of = SCALES[key]
    fields: dict[str, Any] = {key: (kind, ...)}
    scale = scale_of(getattr(read_model(vae, create_model("Vae", **fields)), key))
    across = read_model(pipeline / model / "config.json", _Model).sample_size
    default = otherwise or ACROSS * scale
    return Sizes(default if across is None else across * scale, patch * scale)
