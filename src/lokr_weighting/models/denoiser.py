"""The model of a pipeline that takes the noise away: a transformer or a UNet."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

DENOISERS = ("transformer", "unet")
"""What pipelines call it."""
SECOND = "transformer_2"
"""What pipelines of two call the one that may be left alone in memory (`models.experts`)."""


def denoiser_name(components: Mapping[str, Any]) -> str:
    """What a pipeline calls it.

    Args:
        components: the pipeline's components, or its index; "transformer" where it has none.
    """
    names = (*DENOISERS, SECOND)
    there = (name for name in names if components.get(name) not in (None, [None, None]))
    return next(there, DENOISERS[0])


def denoiser(pipeline: Any) -> "nn.Module":
    """A pipeline's model."""
    return getattr(pipeline, denoiser_name(pipeline.components))
