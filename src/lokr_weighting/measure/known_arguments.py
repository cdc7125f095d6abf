"""What a row's `model_call` names: the shapes of latents and the further arguments of a forward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FluxPipeline
from torch import Tensor

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.packings import frames, same

OWN = "give forward(model, batch, timesteps), which noises the batch and runs the model"
MASKS = ("prompt_attention_mask", "encoder_attention_mask", "text_mask")
POOLED = ("pooled_prompt_embeds", "pooled_projections", "text_embeds")
PIXELS = 8
"""Pixels on a side of a latent's, of the VAEs whose models are told an image's size."""


@dataclass(frozen=True)
class Run:
    """One run of a model, as far as its arguments are known.

    Attributes:
        config: the model's configuration.
        latents: noised, (batch, channels, height, width).
        arguments: what was found in the batch.
        found: gives what the batch has under one of these names, on the device; it is called so
            where there is nothing, and, where it may be missing, None is given.
    """

    config: Any
    latents: Tensor
    arguments: Mapping[str, Any]
    found: Callable[[str, Sequence[str], bool], Any]

    @property
    def text(self) -> Tensor:
        """The captions' embeddings, (batch, tokens, width)."""
        return self.arguments["encoder_hidden_states"]

    @property
    def place(self) -> dict[str, Any]:
        """Where tensors of the latents' kind are made."""
        return {"device": self.latents.device, "dtype": self.latents.dtype}


def _patches(_config: Any, latents: Tensor) -> Tensor:
    # a static method: every family that packs so packs alike
    return FluxPipeline._pack_latents(latents, *latents.shape)


def _flux2_patches(config: Any, latents: Tensor) -> Tensor:
    """FLUX.2's latents as channels of patches, which most loops keep them as already."""
    from diffusers import Flux2Pipeline

    if latents.shape[1] == config.in_channels:
        return latents
    return Flux2Pipeline._patchify_latents(latents)


def _flux2_tokens(config: Any, latents: Tensor) -> Tensor:
    from diffusers import Flux2Pipeline

    return Flux2Pipeline._pack_latents(_flux2_patches(config, latents))


def _ids_of_patches(run: Run) -> dict[str, Any]:
    """Flux.1's places: patches by row and column, all of the text at one."""
    height, width = (side // 2 for side in run.latents.shape[-2:])
    ids = FluxPipeline._prepare_latent_image_ids(len(run.latents), height, width, **run.place)
    return {"img_ids": ids, "txt_ids": torch.zeros(run.text.shape[1], 3, **run.place)}


def _ids_of_flux2(run: Run) -> dict[str, Any]:
    """FLUX.2's places: patches by row and column, the text by its tokens."""
    from diffusers import Flux2Pipeline

    image = Flux2Pipeline._prepare_latent_ids(_flux2_patches(run.config, run.latents))
    text = Flux2Pipeline._prepare_text_ids(run.text)
    device = run.latents.device
    return {"img_ids": image.to(device), "txt_ids": text.to(device)}


def _guidance(run: Run) -> dict[str, Any]:
    """Guidance that is distilled into the model, at 1: none beyond it."""
    ones = torch.ones(len(run.latents), **run.place)
    return {"guidance": ones if run.config.guidance_embeds else None}


def _shapes_of_patches(run: Run) -> dict[str, Any]:
    """Qwen-Image's grids: one frame of each sample's patches."""
    height, width = (side // 2 for side in run.latents.shape[-2:])
    return {"img_shapes": [[(1, height, width)]] * len(run.latents)}


def _mask_of_all(run: Run) -> dict[str, Any]:
    """Chroma's mask: of the text, as numbers of the latents' kind, and of all the image."""
    mask = run.arguments["attention_mask"].to(**run.place)
    tokens = run.latents.shape[-2] * run.latents.shape[-1] // 4
    return {"attention_mask": torch.cat([mask, mask.new_ones(len(mask), tokens)], dim=1)}


def _list_of_frames(config: Any, latents: Tensor) -> list[Tensor]:
    """Z-Image's: each sample's (channels, 1, height, width)."""
    return [*frames(config, latents).unbind()]


def _captions(run: Run) -> dict[str, Any]:
    """Z-Image's captions: each one's real tokens, (tokens, width)."""
    captions = run.arguments["cap_feats"]
    mask = run.found("mask", MASKS, False)
    if isinstance(captions, Tensor) and mask is not None:
        captions = [each[real.bool()] for each, real in zip(captions, mask, strict=True)]
    return {"cap_feats": [*captions]}


def _pixels(run: Run) -> tuple[int, int]:
    """An image's height and width."""
    height, width = run.latents.shape[-2:]
    return height * PIXELS, width * PIXELS


def _text_and_sizes(run: Run) -> dict[str, Any]:
    """SDXL's pooled text and sizes of images: the batch's own, or of what was not cropped."""
    config, kind = run.config, run.config.addition_embed_type
    if run.latents.shape[1] != config.in_channels:
        raise LokrWeightingError(
            f"a batch's latents have {run.latents.shape[1]} channels, the model takes "
            f"{config.in_channels}: what else it is given (a mask, another image) is not known "
            f"here; {OWN}"
        )
    if kind is None:
        return {}
    if kind != "text_time":
        raise LokrWeightingError(
            f"addition_embed_type = {kind!r} in the model's configuration: what it is given beside "
            f"the text is known for 'text_time' alone; {OWN}"
        )
    text = run.found("text_embeds", POOLED, True)
    sizes = run.found("time_ids", ("time_ids", "add_time_ids"), False)
    if sizes is None:
        size = _pixels(run)
        sizes = torch.tensor([[*size, 0, 0, *size]] * len(run.latents), **run.place)
    numbers = sizes.shape[-1] * config.addition_time_embed_dim + text.shape[-1]
    if numbers != config.projection_class_embeddings_input_dim:
        raise LokrWeightingError(
            f"the model takes {config.projection_class_embeddings_input_dim} numbers of pooled "
            f"text and sizes, a batch has {numbers} (SDXL's refiner takes others); {OWN}"
        )
    return {"added_cond_kwargs": {"text_embeds": text, "time_ids": sizes}}


def _sizes_of_pixart(run: Run) -> dict[str, Any]:
    """PixArt-alpha's sizes, which its largest model alone is told."""
    sizes: dict[str, Any] = {"resolution": None, "aspect_ratio": None}
    if run.config.sample_size == 128:
        (height, width), count = _pixels(run), len(run.latents)
        sizes["resolution"] = torch.tensor([[height, width]] * count, **run.place)
        sizes["aspect_ratio"] = torch.tensor([[height / width]] * count, **run.place)
    return {"added_cond_kwargs": sizes}


def _sizes_of_cogview(run: Run) -> dict[str, Any]:
    """CogView 4's sizes, of an image that was not cropped."""
    size = torch.tensor([_pixels(run)] * len(run.latents), **run.place)
    return {"original_size": size, "target_size": size, "crop_coords": torch.zeros_like(size)}


def _thousandfold_guidance(run: Run) -> dict[str, Any]:
    """HunyuanVideo's guidance, at 1, as it counts it."""
    return {"guidance": torch.full((len(run.latents),), 1000.0, **run.place)}


PACKED: Mapping[str, Callable[[Any, Tensor], Any]] = {
    "image": same,
    "patches": _patches,
    "patches of FLUX.2": _flux2_tokens,
    "frames": frames,
    "list of frames": _list_of_frames,
}
"""What a row's `latents` names: what becomes of (batch, channels, height, width)."""
GIVEN: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    "ids of patches": _ids_of_patches,
    "ids of FLUX.2": _ids_of_flux2,
    "guidance of 1": _guidance,
    "shapes of patches": _shapes_of_patches,
    "guidance of 1000": _thousandfold_guidance,
    "mask of text and image": _mask_of_all,
    "real tokens of captions": _captions,
    "text and sizes": _text_and_sizes,
    "sizes of PixArt": _sizes_of_pixart,
    "sizes of CogView": _sizes_of_cogview,
}
"""What a row's `given` names: further arguments, or others in the place of those found."""
