"""Plans: from a measurement to a factor, a split and a cost for every Linear."""

from lokr_weighting.plan.choice import choice_by_distance
from lokr_weighting.plan.factors import linear_factors
from lokr_weighting.plan.make import make_plan, parameters_without_critical
from lokr_weighting.plan.plan import (
    BlockPlan,
    LinearPlan,
    Measurement,
    Plan,
    read_plan,
    write_plan,
)
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.plan.selection import Selection, read_selection

__all__ = [
    "BlockPlan",
    "LinearPlan",
    "Measurement",
    "Plan",
    "Recipe",
    "Selection",
    "choice_by_distance",
    "linear_factors",
    "make_plan",
    "parameters_without_critical",
    "read_plan",
    "read_selection",
    "write_plan",
]
