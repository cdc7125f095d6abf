"""Which tokens of the text stream count, and what is taken of their distances."""

import torch
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError


def real_tokens(mask: Tensor | None, distance: Tensor) -> Tensor | None:
    """Which tokens of the text stream count; all where no mask is known or it leaves none."""
    if mask is None:
        return None
    in_front = distance.shape[-1] - mask.shape[-1]
    if in_front < 0:
        raise LokrWeightingError(
            f"text_mask has {mask.shape[-1]} tokens, the text stream only {distance.shape[-1]}"
        )
    real = mask.to(distance.device, torch.bool)
    real = real | ~real.any(dim=-1, keepdim=True)
    return nn.functional.pad(real, (in_front, 0), value=True)


def masked_mean(distance: Tensor, real: Tensor | None) -> Tensor:
    """The mean over real tokens, (batch,)."""
    if real is None:
        return distance.mean(dim=-1)
    return distance.where(real, 0).sum(dim=-1) / real.sum(dim=-1)


def last(distance: Tensor, real: Tensor | None) -> Tensor:
    """The last real token's, (batch,)."""
    if real is None:
        return distance[..., -1]
    places = torch.arange(real.shape[-1], device=real.device)
    last = places.where(real, 0).amax(dim=-1, keepdim=True)
    return distance.gather(-1, last)[..., 0]
