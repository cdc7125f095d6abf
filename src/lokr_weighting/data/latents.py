"""How an image becomes the latents that a model was trained on, by names that rows use.

Every function takes the pipeline and pixels in the VAE's dtype, (1, 3, height, width) in [-1, 1],
and gives latents as noise is added to them, (1, channels, height, width). Those of video models
take videos too, (1, 3, frames, height, width), and give (1, channels, frames, height, width) with
frames of latents.
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


def frames(pipeline: Any, pixels: Tensor) -> Tensor:
    """A video, each channel less its mean over its standard deviation; an image is one frame."""
    vae = pipeline.vae
    return _as_given(_standardized(mode_of(vae.encode(_video(pixels))), vae.config), pixels)


def frames_scaled(pipeline: Any, pixels: Tensor) -> Tensor:
    """A video, scaled; an image is one frame."""
    vae = pipeline.vae
    return _as_given(mode_of(vae.encode(_video(pixels))) * vae.config.scaling_factor, pixels)


def frames_by_buffers(pipeline: Any, pixels: Tensor) -> Tensor:
    """LTX's: a video, each channel's mean and deviation kept beside the weights."""
    vae = pipeline.vae
    own = vae.latents_mean, vae.latents_std, vae.config.scaling_factor
    encoded = mode_of(vae.encode(_video(pixels)))
    return _as_given(pipeline._normalize_latents(encoded, *own), pixels)


def by_batch_norm(pipeline: Any, pixels: Tensor) -> Tensor:
    """FLUX.2's: patches of two by two normalised by the VAE's running statistics."""
    return pipeline._unpatchify_latents(pipeline._encode_vae_image(pixels, generator=None))


def _video(pixels: Tensor) -> Tensor:
    return pixels if pixels.ndim == 5 else pixels[:, :, None]


def _as_given(latents: Tensor, pixels: Tensor) -> Tensor:
    """An image's latents without frames."""
    return latents if pixels.ndim == 5 else latents[:, :, 0]


def _standardized(latents: Tensor, config: Any) -> Tensor:
    sides = [1] * (latents.ndim - 2)
    mean, std = (
        torch.tensor(each).view(1, -1, *sides).to(latents)
        for each in (config.latents_mean, config.latents_std)
    )
    return (latents - mean) / std


LATENTS: Mapping[str, Callable[[Any, Tensor], Tensor]] = {
    "scaled": scaled,
    "scaled in full": scaled_in_full,
    "frames": frames,
    "frames scaled": frames_scaled,
    "frames by buffers": frames_by_buffers,
    "by batch norm": by_batch_norm,
}
