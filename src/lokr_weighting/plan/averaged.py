"""A measurement, however it is given, as heatmaps and samples in a recipe's terms."""

from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.records.average import heatmaps_of
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.record import Records


def averaged(
    measured: Calibration | Records | Heatmaps, recipe: Recipe
) -> tuple[Heatmaps, Records | None]:
    """The heatmaps, and the samples where they are known.

    Args:
        measured: a calibration, records or heatmaps.
        recipe: whose bins and tokens count.

    Raises:
        LokrWeightingError: a timestep bin is empty, or such tokens were not recorded.
    """
    if isinstance(measured, Heatmaps):
        return measured, None
    if isinstance(measured, Records):
        return heatmaps_of(measured, recipe.bins), measured
    return measured.heatmaps(recipe.bins, recipe.tokens), measured.stacked(recipe.tokens)
