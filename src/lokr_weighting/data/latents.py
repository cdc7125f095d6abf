"""How an image becomes the latents that a model was trained on, by names that rows use.

Every function takes the pipeline and pixels in the VAE's dtype, (1, 3, height, width) in [-1, 1],
and gives latents as noise is added to them, (1, channels, height, width).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def mode_of(encoded: Any) -> Tensor:
    """What a VAE made of an image, without chance."""
    # AutoencoderDC has no distribution
    return encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latent


def scaled(pipeline: Any, pixels: Tensor) -> Tensor:
    """Shifted and scaled, as most VAEs' configurations say."""
    vae = pipeline.vae
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (mode_of(vae.encode(pixels)) - shift) * vae.config.scaling_factor


def scaled_in_full(pipeline: Any, pixels: Tensor) -> Tensor:
    """Scaled, encoded in float32 where a VAE overflows in float16; of SDXL's kind.

    Some fine-tunes have each channel's mean and standard deviation in the configuration too.
    """
    vae, config, dtype = pipeline.vae, pipeline.vae.config, pixels.dtype
    if dtype == torch.float16 and config.force_upcast:
        encoded = mode_of(vae.to(torch.float32).encode(pixels.float()))
        vae.to(dtype)
    else:
        encoded = mode_of(vae.encode(pixels))
    if config.latents_mean is not None and config.latents_std is not None:
        encoded = _standardized(encoded, config)
    return (encoded * config.scaling_factor).to(dtype)


def one_frame(pipeline: Any, pixels: Tensor) -> Tensor:
    """A video of one frame, each channel less its mean over its standard deviation."""
    vae = pipeline.vae
    return _standardized(mode_of(vae.encode(pixels[:, :, None]))[:, :, 0], vae.config)


def one_frame_scaled(pipeline: Any, pixels: Tensor) -> Tensor:
    """A video of one frame, scaled."""
    vae = pipeline.vae
    return mode_of(vae.encode(pixels[:, :, None]))[:, :, 0] * vae.config.scaling_factor


def one_frame_by_buffers(pipeline: Any, pixels: Tensor) -> Tensor:
    """LTX's: a video of one frame, each channel's mean and deviation kept beside the weights."""
    vae = pipeline.vae
    encoded = mode_of(vae.encode(pixels[:, :, None]))
    own = vae.latents_mean, vae.latents_std, vae.config.scaling_factor
    return pipeline._normalize_latents(encoded, *own)[:, :, 0]


def by_batch_norm(pipeline: Any, pixels: Tensor) -> Tensor:
    """FLUX.2's: patches of two by two normalised by the VAE's running statistics."""
    return pipeline._unpatchify_latents(pipeline._encode_vae_image(pixels, generator=None))


def _standardized(latents: Tensor, config: Any) -> Tensor:
    mean, std = (
        torch.tensor(each).view(1, -1, 1, 1).to(latents)
        for each in (config.latents_mean, config.latents_std)
    )
    return (latents - mean) / std


LATENTS: Mapping[str, Callable[[Any, Tensor], Tensor]] = {
    "scaled": scaled,
    "scaled in full": scaled_in_full,
    "one frame": one_frame,
    "one frame scaled": one_frame_scaled,
    "one frame by buffers": one_frame_by_buffers,
    "by batch norm": by_batch_norm,
}
