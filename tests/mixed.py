"""A measurement of a model with blocks of text alone, of image alone, and of both: Lumina 2's."""

import numpy as np
import torch
from diffusers import Lumina2Transformer2DModel

from lokr_weighting import Heatmaps, Records
from lokr_weighting.records import heatmaps_of

NAMES = (
    *(f"context_refiner.{i}" for i in range(2)),
    *(f"noise_refiner.{i}" for i in range(2)),
    *(f"layers.{i}" for i in range(6)),
)
TEXT, IMAGE = [0, 1], [2, 3]  # the blocks of text alone and of image alone


def lumina() -> Lumina2Transformer2DModel:
    """A small Lumina 2 with the blocks of `NAMES`, without weights."""
    with torch.device("meta"):
        return Lumina2Transformer2DModel(
            hidden_size=24,
            num_layers=6,
            num_refiner_layers=2,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=8,
            axes_dim_rope=(4, 4, 4),
            axes_lens=(32, 16, 16),
            cap_feat_dim=8,
        )


def records(count: int = 60, seed: int = 0, spread: float = 0.02) -> Records:
    """Samples over uniform timesteps."""
    rng = np.random.default_rng(seed)
    levels = np.random.default_rng(0).uniform(0.02, 0.3, (2, 1, len(NAMES)))
    image, text = levels + rng.uniform(0, spread, (2, count, len(NAMES)))
    image[:, TEXT] = np.nan
    text[:, IMAGE] = np.nan
    return Records((np.arange(count) + 0.5) / count, image, text)


def heatmaps(seed: int = 0) -> Heatmaps:
    """Their averages, with the blocks' names and standard errors."""
    found = heatmaps_of(records(seed=seed))
    errors = found.image_error, found.text_error
    return Heatmaps(found.image, found.text, "mixed", 60, "", NAMES, *errors)
