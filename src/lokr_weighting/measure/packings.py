"""How a pipeline takes latents, and in which shape its model gives them back, by names of rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """Where (batch, channels, height, width) goes, of videos (batch, channels, frames, ...).

    Attributes:
        handed: gives the call's argument `latents`, of the pipeline and latents.
        predicted: gives the shape that the model's prediction has when the scheduler gets it.
    """

    handed: Callable[[Any, Tensor], Tensor]
    predicted: Callable[[Any, Tensor], Tensor]


def same(_of: Any, latents: Tensor) -> Tensor:
    """Latents as they are, of whatever pipeline or configuration."""
    return latents


def _patches(pipeline: Any, latents: Tensor) -> Tensor:
    return pipeline._pack_latents(latents, *latents.shape)


def _flux2_image(pipeline: Any, latents: Tensor) -> Tensor:
    return pipeline._patchify_latents(latents)


def _flux2_tokens(pipeline: Any, latents: Tensor) -> Tensor:
    return pipeline._pack_latents(_flux2_image(pipeline, latents))


def _last(pipeline: Any, latents: Tensor) -> Tensor:
    return frames(pipeline, latents).movedim(1, -1)


def _last_with_conditions(pipeline: Any, latents: Tensor) -> Tensor:
    alone = _last(pipeline, latents)
    if not pipeline.transformer.visual_cond:
        return alone
    # no frame is given beforehand
    return torch.cat([alone, torch.zeros_like(alone), torch.zeros_like(alone[..., :1])], dim=-1)


def frames(_of: Any, latents: Tensor) -> Tensor:
    """Latents of videos, of whatever pipeline or configuration: an image is one frame."""
    return latents if latents.ndim == 5 else latents[:, :, None]


def _frame_tokens(pipeline: Any, latents: Tensor) -> Tensor:
    sides = pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size
    return pipeline._pack_latents(frames(pipeline, latents), *sides)


PACKINGS: Mapping[str, Packing] = {
    # (batch, channels, height, width)
    "image": Packing(same, same),
    # (batch, height / 2 * width / 2, 4 * channels)
    "patches": Packing(_patches, _patches),
    # patches as channels; the pipeline makes tokens of them
    "patches of an image": Packing(_flux2_image, _flux2_tokens),
    # LTX's, (batch, frames * height * width, channels)
    "tokens of frames": Packing(_frame_tokens, _frame_tokens),
    # Kandinsky 5's, (batch, frames, height, width, channels)
    "channels last": Packing(_last_with_conditions, _last),
    # (batch, channels, frames, height, width)
    "frames": Packing(frames, frames),
}
