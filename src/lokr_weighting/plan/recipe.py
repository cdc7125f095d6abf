"""The recipe: from heatmaps to contributions to a factor for every block.

Every default is the SD3.5-Large study's (James Carter, "Layer-wise Analysis of SD3.5 Large", 2024);
with them the study's heatmaps give its published factors, all 38.
"""

import math
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.plan.alone import blocks_alone
from lokr_weighting.records.heatmaps import Heatmaps

Percentile = Annotated[float, Field(gt=0, le=100)]
Reason = Literal["image", "text", "given"]
"""Why a block is critical: by the rule in one of the streams, or because the user says so."""
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Factor = Annotated[int, Field(ge=1, le=1 << 20)]
"""No Linear is so wide that a larger one would mean another split."""

RecipeName = Literal["distance", "streams", "gradient", "gradient-norm", "ablation"]
RECIPES: dict[RecipeName, str] = {
    "distance": "the study's: both streams' distances together",
    "streams": "the same, each stream's Linears by their own stream's distances",
    "gradient": "by what each split of each Linear can follow of the loss's gradient",
    "gradient-norm": "the gradient's squared norm in distance's place",
    "ablation": "what skipping a block costs in distance's place",
}
"""A name to type -> what decides where capacity goes."""


class Recipe(BaseModel):
    """The settings that lead from a measurement to a plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: RecipeName = "distance"
    """What decides where capacity goes, a row of `RECIPES`."""
    tokens: Literal["mean", "last", "last-real"] = "mean"
    """Distances averaged over every real token, or the last token's alone (the study's; of a padded
    text that is padding), or the last real token's."""
    bins: Annotated[int, Field(ge=1)] = 10
    """Timestep bins that records are averaged in."""
    clip_percentile: Percentile = 90
    """Each stream's heatmap is clipped at this percentile of its own cells."""
    image_weight: Weight = 2 / 3
    """Weight of the image stream."""
    text_weight: Weight = 1 / 3
    """Weight of the text stream."""
    missing_text: Literal["predecessor", "image", "zero"] = "predecessor"
    """What a block without a text distance gets in a list where others have one: the contribution
    of the block before it, one from its image distance alone, or one that counts the missing text
    as no change. In a list of image alone, the image counts with the whole weight."""
    max_factor: Factor = 12
    """The factor of the block that contributes least; the one that contributes most gets 1."""
    other_multiplier: Factor = 2
    """Feed-forward and modulation Linears get the block's factor, all others this many times it."""
    critical: Literal["rule", "off"] | tuple[Annotated[int, Field(ge=0)], ...] = "rule"
    """Critical blocks: found by the rule, none, or given by index."""
    critical_percentile: Percentile = 95
    """The rule: a bin is extreme above this percentile of its stream's heatmap ..."""
    critical_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """... and a block is critical if at least this share of its bins is, in either stream."""
    critical_factor: Factor = 1
    """The factor of a critical block."""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Under a budget, every factor to this power: 1 is the recipe's own spread, 0 is uniform."""

    @model_validator(mode="after")
    def _weights(self) -> Self:
        if self.image_weight + self.text_weight == 0:
            raise ValueError("image_weight and text_weight cannot both be 0")
        if self.name == "gradient" and (self.strength != 1 or self.critical not in ("rule", "off")):
            raise ValueError("the recipe gradient has neither strength nor critical blocks")
        return self

    @property
    def by_distance(self) -> bool:
        """Whether distances alone decide."""
        return self.name in ("distance", "streams")

    @property
    def of_distances(self) -> "Recipe":
        """This recipe, or where it goes by something else, the study's with its settings."""
        return self if self.by_distance else self.model_copy(update={"name": "distance"})

    @property
    def by_gradient(self) -> bool:
        """Whether gains must have been measured."""
        return self.name in ("gradient", "gradient-norm")


def contributions(heatmaps: Heatmaps, recipe: Recipe) -> np.ndarray:
    """How much each block contributes, (blocks,), each in [0, 1].

    Clip each stream at its own percentile over the blocks that have it, weight and add the streams,
    halve, average over the timestep bins, and min-max normalise over the blocks. What a block of
    one stream alone has counts with the whole weight (`blocks_alone`); of a stream that has no
    weight it contributes 0, and the others are normalised without it.

    Raises:
        LokrWeightingError: all blocks come out the same, so there is nothing to weight, or only
            streams without weight were measured.
    """
    has_image, has_text = heatmaps.has_image, heatmaps.has_text
    alone = blocks_alone(has_image, has_text, heatmaps.blocks)
    image, text = np.zeros_like(heatmaps.image), np.zeros_like(heatmaps.image)
    for stream, measured, has, weight in (
        (image, heatmaps.image, has_image, recipe.image_weight),
        (text, heatmaps.text, has_text, recipe.text_weight),
    ):
        if has.any():
            stream[:, has] = _clip(measured[:, has], recipe.clip_percentile) * weight
    whole = recipe.image_weight + recipe.text_weight
    # without any text, one weight for all blocks changes nothing
    whole_image = ~has_text if recipe.missing_text == "image" else alone.image & has_text.any()
    if recipe.image_weight:
        image[:, whole_image] *= whole / recipe.image_weight
    if recipe.text_weight:
        text[:, alone.text] *= whole / recipe.text_weight
    mean = ((image + text) / 2).mean(axis=0)
    own = np.ones_like(has_text)
    if not recipe.image_weight:
        own &= ~alone.image
    if not recipe.text_weight:
        own &= ~alone.text
    beside = alone.beside if recipe.missing_text == "predecessor" else {}
    own[list(beside)] = False
    if not own.any():
        raise LokrWeightingError(
            f"image_weight = {recipe.image_weight:g}, text_weight = {recipe.text_weight:g}: the "
            "blocks have only a stream that has no weight, so nothing counts"
        )
    shares = np.zeros_like(mean)
    shares[own] = normalised(mean[own])
    for block, other in beside.items():
        shares[block] = shares[other]
    return shares


def critical_blocks(heatmaps: Heatmaps, recipe: Recipe) -> dict[int, tuple[Reason, ...]]:
    """The critical blocks and why each is one.

    Returns:
        block index -> the streams ("image", "text") whose rule it meets, or ("given",).

    Raises:
        LokrWeightingError: a block given by hand does not exist.
    """
    if recipe.critical == "off":
        return {}
    if recipe.critical != "rule":
        wrong = [block for block in recipe.critical if block >= heatmaps.block_count]
        if wrong:
            raise LokrWeightingError(
                f"critical = {list(recipe.critical)}: there is no block {wrong[0]}; "
                f"the measurement has blocks 0 to {heatmaps.block_count - 1}"
            )
        return dict.fromkeys(sorted(set(recipe.critical)), ("given",))
    reasons: dict[int, tuple[Reason, ...]] = {}
    streams: tuple[tuple[Reason, np.ndarray], ...] = (
        ("image", heatmaps.image),
        ("text", heatmaps.text),
    )
    for stream, heatmap in streams:
        if np.isnan(heatmap).all():
            continue
        limit = np.nanpercentile(heatmap, recipe.critical_percentile)
        share = (heatmap > limit).mean(axis=0)
        for block in np.flatnonzero(share >= recipe.critical_share):
            reasons[int(block)] = (*reasons.get(int(block), ()), stream)
    return dict(sorted(reasons.items()))


def block_factors(
    shares: np.ndarray, critical: dict[int, tuple[Reason, ...]], recipe: Recipe
) -> list[int]:
    """The factor of every block: 1 for the largest contribution, `max_factor` for the smallest.

    Args:
        shares: contributions, (blocks,), each in [0, 1].
        critical: the critical blocks; these get `critical_factor`.
        recipe: the settings.
    """
    factors = np.rint((1 - shares) * (recipe.max_factor - 1) + 1).astype(int)
    factors[list(critical)] = recipe.critical_factor
    return [int(factor) for factor in factors]


def normalised(values: np.ndarray) -> np.ndarray:
    """Values, (blocks,), from 0 for the least to 1 for the largest.

    Raises:
        LokrWeightingError: all are the same, or so large that they cannot be reckoned with.
    """
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(high - low):
        raise LokrWeightingError(
            f"a block measures {high:g} and another {low:g}, which no measurement gives"
        )
    if low == high:
        raise LokrWeightingError(
            "every block measures the same, so there is nothing to weight: "
            "was a model with trained weights measured?"
        )
    return (values - low) / (high - low)


def _clip(heatmap: np.ndarray, percentile: float) -> np.ndarray:
    return np.minimum(heatmap, np.percentile(heatmap, percentile))
