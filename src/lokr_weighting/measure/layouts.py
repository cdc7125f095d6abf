"""The models that lay out their tokens in ways of their own, by the name in their family's row."""

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.layout import Arguments, Layout, LayoutReader
from lokr_weighting.models.family import Family

Z_IMAGE_MULTIPLE = 32
"""Z-Image fills each sample's image and caption up to a multiple of this (its SEQ_MULTI_OF)."""


def _as_row(_model: nn.Module, _call: Arguments, row: Layout) -> Layout:
    """Nothing beyond the row."""
    return row


def _by_ids(_model: nn.Module, call: Arguments, row: Layout) -> Layout:
    """Flux.1 and FLUX.2: a reference image's ids begin otherwise than the image's that is made."""
    ids = call.get("img_ids")
    if ids is None:
        return row
    first = ids[..., 0]
    made = first == first[..., :1]
    # known to be all: the plain mean
    return row if bool(made.all()) else replace(row, image=_batched(made, call["hidden_states"]))


def _by_shapes(_model: nn.Module, call: Arguments, row: Layout) -> Layout:
    """Qwen-Image: `img_shapes` has each sample's grids, the one that is made first."""
    tokens = call["hidden_states"]
    shapes = call.get("img_shapes") or []
    grids = [shape[0] if isinstance(shape[0], tuple | list) else shape for shape in shapes]
    made = torch.tensor([prod(grid) for grid in grids] or [tokens.shape[1]], device=tokens.device)
    if bool((made == tokens.shape[1]).all()):
        return row
    return replace(row, image=_batched(_first(made, tokens.shape[1]), tokens))


def _lumina2(model: nn.Module, call: Arguments, _row: Layout) -> Layout:
    """Lumina 2: each sample's real caption tokens, then its image, without padding between."""
    latents, mask = call["hidden_states"], call["encoder_attention_mask"]
    images = _whole(latents, _patches(model, latents))
    captions = mask.sum(dim=1)
    lengths = torch.full_like(captions, images.shape[1]), captions
    return Layout(images, _first(captions, mask.shape[1]), packed=lengths)


def _z_image(_model: nn.Module, call: Arguments, _row: Layout) -> Layout:
    """Z-Image: each sample's image, then its caption, both filled up to a multiple of 32."""
    images, captions = call["x"], call["cap_feats"]
    if isinstance(images[0], list):
        raise LokrWeightingError(
            "Z-Image is called with lists of images for one sample (its omni mode): which tokens "
            "are of the image that is made is not known here"
        )
    patch = call.get("f_patch_size", 1) * call.get("patch_size", 2) ** 2
    device = images[0].device
    real = [
        torch.tensor(counts, device=device)
        for counts in (
            [prod(image.shape[-3:]) // patch for image in images],
            [len(caption) for caption in captions],
        )
    ]
    filled = [-(-counts // Z_IMAGE_MULTIPLE) * Z_IMAGE_MULTIPLE for counts in real]
    image, text = (
        _first(counts, int(whole.max())) for counts, whole in zip(real, filled, strict=True)
    )
    return Layout(image, text, packed=(filled[0], filled[1]))


def _hidream(model: nn.Module, call: Arguments, row: Layout) -> Layout:
    """HiDream: images that are not square are filled up to the most tokens that it knows."""
    mask, latents = call.get("hidden_states_masks"), call["hidden_states"]
    if mask is not None:
        return replace(row, image=mask.bool())
    if latents.shape[-2] == latents.shape[-1]:
        return row
    most: Any = model.max_seq
    real = torch.arange(most, device=latents.device) < _patches(model, latents)
    return replace(row, image=_batched(real, latents))


def _ernie(_model: nn.Module, call: Arguments, row: Layout) -> Layout:
    """ERNIE-Image: `text_lens` has each caption's length."""
    return replace(row, text=_first(call["text_lens"], call["text_bth"].shape[1]))


def _omnigen(model: nn.Module, call: Arguments, _row: Layout) -> Layout:
    """OmniGen: caption, a token for the timestep, image; captions are filled up in front."""
    latents, ids, mask = (call[name] for name in ("hidden_states", "input_ids", "attention_mask"))
    count = mask.shape[-1] - _patches(model, latents)
    # what the last image token attends to
    text = (mask if mask.ndim == 2 else mask[:, -1])[:, :count].bool().clone()
    text[:, -1] = False
    for sample, spans in (call.get("input_image_sizes") or {}).items():
        for start, end in spans:
            text[sample, start:end] = False
    assert ids is None or ids.shape[1] + 1 == count
    return Layout(None, text, count)


def _hunyuan_image(_model: nn.Module, call: Arguments, row: Layout) -> Layout:
    """HunyuanImage: the real tokens of its two captions stand in front of all padding."""
    masks = [call["encoder_attention_mask"], call.get("encoder_attention_mask_2")]
    if call.get("encoder_hidden_states_2") is None:
        masks = masks[:1]
    return replace(row, text=_first(*_sums(masks)))


def _hunyuan_video15(_model: nn.Module, call: Arguments, row: Layout) -> Layout:
    """HunyuanVideo 1.5: real tokens of a first image, then of both captions, then all padding."""
    image = call["image_embeds"]
    count, length = _sums([call["encoder_attention_mask"], call["encoder_attention_mask_2"]])
    # without an image it is all zeros, and padding
    in_front = 0 if bool((image == 0).all()) else image.shape[1]
    whole = _first(count + in_front, length + image.shape[1])
    whole[:, :in_front] = False
    return replace(row, text=whole)


LAYOUTS: dict[str, LayoutReader] = {
    "by ids": _by_ids,
    "by shapes": _by_shapes,
    "ernie": _ernie,
    "hidream": _hidream,
    "hunyuan_image": _hunyuan_image,
    "hunyuan_video15": _hunyuan_video15,
    "lumina2": _lumina2,
    "omnigen": _omnigen,
    "z_image": _z_image,
}
"""What a row's `layout` names; `register_layout` adds to it."""


OF_IMAGES = ("by ids", "by shapes", "hidream")
"""Layouts that say nothing of the text."""


def tells_padding(family: Family) -> bool:
    """Whether the model's own call tells which text tokens of a family's are padding."""
    return family.text_mask is not None or family.layout not in (None, *OF_IMAGES)


def register_layout(name: str, reader: LayoutReader) -> None:
    """Add a way that a family's row can name as its `layout`."""
    LAYOUTS[name] = reader


def layout_reader(family: Family) -> LayoutReader:
    """How a family's calls lay out their tokens.

    Raises:
        LokrWeightingError: its row names a layout that is not there.
    """
    if family.layout is None:
        return _as_row
    if family.layout not in LAYOUTS:
        raise LokrWeightingError(
            f"{family.name}: no layout is called {family.layout!r}; there are "
            f"{', '.join(sorted(LAYOUTS))}, and register_layout adds one"
        )
    return LAYOUTS[family.layout]


def _patches(model: nn.Module, latents: Tensor) -> int:
    """How many tokens an image becomes; latents are (batch, channels, height, width)."""
    config: Any = model.config
    return prod(latents.shape[-2:]) // config.patch_size**2


def _first(counts: Tensor, length: int) -> Tensor:
    """Each sample's first tokens, (batch, length) of bool."""
    return torch.arange(length, device=counts.device) < counts[:, None]


def _whole(latents: Tensor, length: int) -> Tensor:
    """All of every sample's tokens, (batch, length) of bool."""
    return torch.ones(len(latents), length, dtype=torch.bool, device=latents.device)


def _batched(real: Tensor, tokens: Tensor) -> Tensor:
    """The same tokens of every sample, (batch, tokens), where all are alike."""
    return real.expand(len(tokens), -1)


def _sums(masks: list[Tensor | None]) -> tuple[Tensor, int]:
    """How many tokens several masks count for each sample, and how long they are together."""
    known = [mask for mask in masks if mask is not None]
    return torch.stack([mask.sum(dim=1) for mask in known]).sum(dim=0), sum(
        mask.shape[1] for mask in known
    )
