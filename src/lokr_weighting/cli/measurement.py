"""The measurement that a command starts from, whichever way it is given."""

from pathlib import Path
from typing import TYPE_CHECKING

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    import numpy as np

    from lokr_weighting.models.skeleton import Skeleton
    from lokr_weighting.plan.recipe import Recipe
    from lokr_weighting.records.calibration import Calibration
    from lokr_weighting.records.heatmaps import Heatmaps
    from lokr_weighting.records.record import Records


def read_measurement(
    *,
    records: Path | None,
    calibration: Path | None,
    heatmaps: Path | None,
    reference: str | None,
    recipe: "Recipe",
) -> "Calibration | Records | Heatmaps":
    """The measurement from whichever one was given.

    Raises:
        LokrWeightingError: none was given or several, or it cannot be read.
    """
    from lokr_weighting.records.heatmaps import read_heatmaps
    from lokr_weighting.records.record import read_records
    from lokr_weighting.records.references import load_reference
    from lokr_weighting.records.store import read_calibration

    sources = (records, calibration, heatmaps, reference)
    if sum(source is not None for source in sources) != 1:
        raise LokrWeightingError(
            "give exactly one of --records, --calibration, --heatmaps and --reference"
        )
    if records is not None:
        return read_records(records, recipe.tokens)
    if calibration is not None:
        return read_calibration(calibration)
    averaged = read_heatmaps(heatmaps) if heatmaps else load_reference(reference or "")
    if "bins" in recipe.model_fields_set and recipe.bins != averaged.bins:
        raise LokrWeightingError(
            f"bins = {recipe.bins}: heatmaps are already averaged, in {averaged.bins} bins; "
            "only records can be binned again"
        )
    return averaged


def damage_shares(
    ablation: Path | None, recipe: "Recipe", skeleton: "Skeleton"
) -> "np.ndarray | None":
    """The blocks' contributions by an ablation, (blocks,), for the recipe that goes by it.

    Raises:
        LokrWeightingError: the recipe goes by it and none is given, or it is of another model.
    """
    if recipe.name != "ablation":
        return None
    if ablation is None:
        raise LokrWeightingError(
            "the recipe ablation goes by what `lokr-weighting ablate` wrote; give --ablation "
            "ablation.json"
        )
    from lokr_weighting.models.blocks import block_names
    from lokr_weighting.studies.ablation_file import read_ablation
    from lokr_weighting.studies.damage import shares_of_damage

    return shares_of_damage(read_ablation(ablation), block_names(skeleton))


def model_of_measured(measured: "Calibration | Records | Heatmaps") -> str | None:
    """The model that was measured, where the measurement says."""
    from lokr_weighting.records.record import Records

    return None if isinstance(measured, Records) else measured.model
