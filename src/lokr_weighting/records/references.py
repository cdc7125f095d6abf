"""The measurements that come with the package."""

from importlib import resources
from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.records.heatmaps import Heatmaps, read_heatmaps


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
            f"no reference measurement named {name!r}; shipped: {', '.join(references())}"
        )
    folder = resources.files("lokr_weighting") / "measurements"
    with resources.as_file(folder / f"{name}.json") as path:
        return read_heatmaps(path)
