"""Pipelines that resize images to sizes of their own choice, held to the one that is asked for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import sqrt
from typing import Any

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.pipeline_call import PipelineCall, named

SPARSE_TOKENS = 8
ROUNDING = 1e-6  # above any rounding of a side's length, below any side's step


def _of_that_area(pipeline: Any, width: int, height: int) -> dict[str, Any]:
    """HiDream: both sides are scaled to the area of a square of so many latents."""
    model, scale = pipeline.transformer, pipeline.vae_scale_factor
    tokens = width * height // (scale * model.config.patch_size) ** 2
    if width != height and tokens > model.max_seq:
        raise LokrWeightingError(
            f"{width} x {height} pixels: of images that are not square {type(model).__name__} "
            f"takes at most {model.max_seq} tokens, these are {tokens}; lower --resolution"
        )
    return {"default_sample_size": sqrt(width * height) * (1 + ROUNDING) / scale}


def _of_a_list(_pipeline: Any, width: int, height: int) -> dict[str, Any]:
    """Kandinsky 5: the nearest of a list of sizes is taken."""
    return {"resolutions": [(width, height)]}


def _in_blocks(pipeline: Any, width: int, height: int) -> dict[str, Any]:
    """Kandinsky 5: sparse attention is over blocks of eight by eight tokens."""
    model: Any = pipeline.transformer
    side = SPARSE_TOKENS * model.config.patch_size[1] * pipeline.vae_scale_factor_spatial
    if model.config.attention_type == "nabla" and (width % side or height % side):
        raise LokrWeightingError(
            f"{width} x {height} pixels: sides must be multiples of {side} for this "
            f"{type(model).__name__}, whose attention is sparse; choose --resolution so, and no "
            "--buckets"
        )
    return {}


SIZINGS: Mapping[str, Callable[[Any, int, int], dict[str, Any]]] = {
    "of that area": _of_that_area,
    "of a list": _of_a_list,
    "in blocks": _in_blocks,
}
"""What a pipeline's attributes must be, by names of rows, for a width and height in pixels."""


@contextmanager
def held_to(pipeline: Any, call: PipelineCall, width: int, height: int) -> Iterator[None]:
    """Within, a pipeline's call runs at this size in pixels.

    Raises:
        LokrWeightingError: its model takes no image of that size.
    """
    if call.sizing is None:
        yield
        return
    attributes = named(SIZINGS, "sizing", call.sizing)(pipeline, width, height)
    before = {name: getattr(pipeline, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(pipeline, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(pipeline, name, value)
