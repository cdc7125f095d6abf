"""A calibration that was kept in memory, written to a folder that every command reads."""

from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import nulls
from lokr_weighting.records.calibration import Calibration, Summary
from lokr_weighting.records.gains import GAINS, write_gains
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.store import CalibrationStore


def write_calibration(folder: Path | str, calibration: Calibration) -> Path:
    """Write a calibration to a folder of its own, as `calibrate_folder` keeps it.

    `read_calibration` gives it back, and `plan`, `report`, `diff`, `findings` read it.

    Args:
        folder: a new or empty folder, or one that holds this calibration's beginning.
        calibration: what `calibrate` gave.

    Returns:
        the folder.

    Raises:
        LokrWeightingError: the folder holds something else, or a timestep bin has no sample.
        OutputError: it cannot be written.
    """
    folder = Path(folder)
    bins = calibration.settings.get("bins", 10)
    measured = sorted(
        [*calibration.records, *calibration.not_finite],
        key=lambda each: -1 if each.sample is None else each.sample,
    )
    if not measured:
        raise LokrWeightingError(f"{folder}: this calibration has no samples to write")
    store = CalibrationStore(folder, calibration.settings)
    try:
        store.read()
        store.append(measured)
        store.finish(summary_of(calibration, calibration.heatmaps(bins)))
    finally:
        store.close()
    if calibration.gains is not None:
        write_gains(folder / GAINS, calibration.gains, calibration.settings)
    return folder


def summary_of(
    calibration: Calibration,
    heatmaps: Heatmaps,
    *,
    same: float | None = None,
    near: float | None = None,
    settled: bool = False,
    processes: int = 1,
) -> Summary:
    """What `calibration.json` says of a calibration.

    Args:
        calibration: all that was measured.
        heatmaps: its means and errors.
        same: the share of resamples that give the very plan, where it was judged.
        near: the share within one split of it.
        settled: whether that is enough.
        processes: how many measured.
    """
    image_error, text_error = heatmaps.image_error, heatmaps.text_error
    return Summary(
        settings=dict(calibration.settings),
        blocks=calibration.blocks,
        samples=len(calibration.records),
        not_finite=calibration.not_finite_by_block,
        settled=settled,
        same=same,
        near=near,
        image=nulls(heatmaps.image.mean(axis=0)),
        image_error=None if image_error is None else nulls(image_error),
        text=nulls(heatmaps.text.mean(axis=0)),
        text_error=None if text_error is None else nulls(text_error),
        skipped=dict(calibration.skipped),
        processes=processes,
        versions=dict(calibration.versions),
    )
