"""What sizes of images a pipeline is made for, by its configurations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_model

ACROSS = 128  # latents of a model whose configuration does not say: 1024 pixels at a factor of 8
Levels = Annotated[list[Any], Field(min_length=1, max_length=8)]
Side = Annotated[int, Field(ge=1, le=128)]


class _Vae(BaseModel):
    """Of a VAE's configuration; other keys are diffusers', and so is "temperal"."""

    scale_factor_spatial: Side | None = None
    spatial_compression_ratio: Side | None = None
    spatio_temporal_scaling: Levels | None = None
    encoder_block_out_channels: Levels | None = None
    block_out_channels: Levels | None = None
    temperal_downsample: Levels | None = None
    patch_size: Any = None  # of LTX a number, of others several


SCALES: Mapping[str, Callable[[_Vae, Any], int]] = {
    "scale_factor_spatial": lambda _, side: side,
    "spatial_compression_ratio": lambda _, side: side,
    "spatio_temporal_scaling": lambda vae, levels: _ltx_patch(vae) * 2 ** sum(levels),
    "encoder_block_out_channels": lambda _, levels: 2 ** (len(levels) - 1),
    "block_out_channels": lambda _, levels: 2 ** (len(levels) - 1),
    "temperal_downsample": lambda _, levels: 2 ** len(levels),
}
"""Pixels on a latent's side, by the first of these keys that a VAE's configuration has."""
USUAL = "block_out_channels"


def _ltx_patch(vae: _Vae) -> int:
    # diffusers' default, where it is left out
    return vae.patch_size if isinstance(vae.patch_size, int) else 4


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
    vae = read_model(pipeline / "vae" / "config.json", _Vae)
    key = next((name for name in SCALES if getattr(vae, name) is not None), None)
    if key is None:
        raise LokrWeightingError(
            f"{pipeline / 'vae' / 'config.json'}: key {USUAL!r} is missing, or another that tells "
            f"its scale: {', '.join(name for name in SCALES if name != USUAL)}"
        )
    scale = SCALES[key](vae, getattr(vae, key))
    across = read_model(pipeline / model / "config.json", _Model).sample_size
    default = otherwise or ACROSS * scale
    return Sizes(default if across is None else across * scale, patch * scale)
