"""What a command starts from, whichever way it is given: a measurement, an ablation, an adapter."""

from pathlib import Path
from typing import TYPE_CHECKING

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    import numpy as np

    from lokr_weighting.models.skeleton import Skeleton
    from lokr_weighting.plan.plan import Plan
    from lokr_weighting.plan.recipe import Recipe
    from lokr_weighting.records.calibration import Calibration
    from lokr_weighting.records.heatmaps import Heatmaps
    from lokr_weighting.records.record import Records
    from lokr_weighting.studies.changes import AdapterStudy


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
    from lokr_weighting.records.heatmaps import Heatmaps, read_heatmaps
    from lokr_weighting.records.reading import read_calibration
    from lokr_weighting.records.record import read_records
    from lokr_weighting.records.references import read_reference

    sources = (records, calibration, heatmaps, reference)
    if sum(source is not None for source in sources) != 1:
        raise LokrWeightingError(
            "give exactly one of --records, --calibration, --heatmaps and --reference"
        )
    if records is not None:
        return read_records(records, recipe.tokens)
    if calibration is not None:
        return read_calibration(calibration)
    averaged = read_heatmaps(heatmaps) if heatmaps else read_reference(reference or "")
    if not isinstance(averaged, Heatmaps):
        return averaged
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


def model_of_measured(
    measured: "Calibration | Records | Heatmaps", reference: str | None = None
) -> str | None:
    """The model that was measured, where the measurement says.

    Args:
        measured: the measurement.
        reference: the name it was asked for by, which is its model's where it is shipped.
    """
    from lokr_weighting.records.heatmaps import Heatmaps
    from lokr_weighting.records.record import Records

    if reference is not None and isinstance(measured, Heatmaps):
        return reference
    return None if isinstance(measured, Records) else measured.model


def study_of_adapter(
    adapter: Path, skeleton: "Skeleton", model: str, plan: "Plan | None"
) -> "AdapterStudy":
    """What a trained adapter did, with a progress bar: large weights take their time.

    Raises:
        LokrWeightingError: it cannot be read, or is of another model.
    """
    from rich.progress import Progress

    from lokr_weighting.models.weights import weights_folder
    from lokr_weighting.show.console import console
    from lokr_weighting.studies.inspection import study_adapter

    out = console(stderr=True)
    with Progress(console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task("reading", total=None)
        return study_adapter(
            adapter,
            skeleton,
            model,
            weights=weights_folder(model),
            plan=plan,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
