"""Measure where a diffusion transformer works and give a LoKr adapter its parameters there."""

from typing import TYPE_CHECKING, Any

from lokr_weighting.blocks import Block, BlockList, Family, Streams, register_family
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.heatmaps import Heatmaps, load_reference, read_heatmaps, write_heatmaps
from lokr_weighting.plan import Plan, make_plan, read_plan, write_plan
from lokr_weighting.recipe import Recipe
from lokr_weighting.records import Records, heatmaps_of, read_records

if TYPE_CHECKING:
    from lokr_weighting.calibrating import calibrate, calibrate_folder
    from lokr_weighting.calibration import Calibration, read_calibration
    from lokr_weighting.collect import Stop
    from lokr_weighting.data.dataset import Job
    from lokr_weighting.probe import Distances, Probe
    from lokr_weighting.similarity import similarity_of

__version__ = "0.1.0"

__all__ = [
    "Block",
    "BlockList",
    "Calibration",
    "Distances",
    "Family",
    "Heatmaps",
    "Job",
    "LokrWeightingError",
    "Plan",
    "Probe",
    "Recipe",
    "Records",
    "Stop",
    "Streams",
    "calibrate",
    "calibrate_folder",
    "heatmaps_of",
    "load_reference",
    "make_plan",
    "read_calibration",
    "read_heatmaps",
    "read_plan",
    "read_records",
    "register_family",
    "similarity_of",
    "write_heatmaps",
    "write_plan",
]

_NEED_TORCH = {
    "Calibration": "calibration",
    "Distances": "probe",
    "Job": "data.dataset",
    "Probe": "probe",
    "Stop": "collect",
    "calibrate": "calibrating",
    "calibrate_folder": "calibrating",
    "read_calibration": "calibration",
    "similarity_of": "similarity",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch only when it is asked for."""
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_NEED_TORCH[name]}"), name)
