"""Measure where a diffusion transformer works and give a LoKr adapter its parameters there."""

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.heatmaps import Heatmaps, load_reference, read_heatmaps, write_heatmaps
from lokr_weighting.plan import Plan, make_plan, read_plan, write_plan
from lokr_weighting.recipe import Recipe
from lokr_weighting.records import Records, heatmaps_of, read_records

__version__ = "0.1.0"

__all__ = [
    "Heatmaps",
    "LokrWeightingError",
    "Plan",
    "Recipe",
    "Records",
    "heatmaps_of",
    "load_reference",
    "make_plan",
    "read_heatmaps",
    "read_plan",
    "read_records",
    "write_heatmaps",
    "write_plan",
]
