"""The measurements that come with the package, and those of others in a folder."""

from importlib import resources
from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.heatmaps import Heatmaps, read_heatmaps
from lokr_weighting.records.reading import read_calibration


def references() -> tuple[str, ...]:
    """The names of the measurements shipped with the package."""
    folder = resources.files("lokr_weighting") / "measurements"
    return tuple(sorted(Path(entry.name).stem for entry in folder.iterdir()))


def load_reference(name: str) -> Heatmaps:
    """Load a measurement shipped with the package, e.g. `"sd3.5-large"`.

    Raises:
        LokrWeightingError: no measurement of that name is shipped.
    """
    if name not in references():
        raise LokrWeightingError(
            f"no reference measurement named {name!r}; shipped: {', '.join(references())}; or give "
            "the folder of one that `lokr-weighting pull` wrote"
        )
    folder = resources.files("lokr_weighting") / "measurements"
    with resources.as_file(folder / f"{name}.json") as path:
        return read_heatmaps(path)


def read_reference(name: str) -> Heatmaps | Calibration:
    """A reference: a folder with a calibration, e.g. one that was pulled, or a shipped measurement.

    Args:
        name: the folder, or a name as for `load_reference`, which goes before.

    Raises:
        LokrWeightingError: it is neither, or the calibration is damaged.
    """
    if name not in references() and Path(name).is_dir():
        return read_calibration(Path(name))
    return load_reference(name)
