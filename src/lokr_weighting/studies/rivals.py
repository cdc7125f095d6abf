"""Plans by name: the recipe's, and those that it must be compared with, at one budget.

To add one, add a row to `RIVALS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import checked
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.plan.budget import possible_size
from lokr_weighting.plan.choice import ONE_STREAM
from lokr_weighting.plan.make import make_plan
from lokr_weighting.plan.plan import Plan, read_plan
from lokr_weighting.plan.recipe import RECIPES, Recipe, RecipeName
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.gains import Gains
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.studies.ablation import Ablation
from lokr_weighting.studies.damage import shares_of_damage

Kind = Literal["lokr", "lora"]
CLOSE, REFUSED = 0.01, 0.03  # shares of the budget that a plan may leave unused: said, refused


@dataclass(frozen=True)
class Ground:
    """What plans are made from.

    Attributes:
        measured: the measurement.
        skeleton: the model.
        recipe: the recipe of the weighted plan.
        parameters: the budget, in trainable parameters.
        ablation: what it costs to skip each block, where that was measured.
        gains: what gradients say, where they were measured.
    """

    measured: Calibration | Heatmaps
    skeleton: Skeleton
    recipe: Recipe
    parameters: int
    ablation: Ablation | None = None
    gains: Gains | None = None

    def plan(self, contributions: np.ndarray | None = None, **settings: object) -> Plan:
        """A plan by the recipe with other settings, or with other contributions, (blocks,).

        Raises:
            LokrWeightingError: it needs what was not measured, or the settings make no sense.
        """
        recipe = checked(Recipe, self.recipe.model_dump() | settings, "plans")
        if recipe.name == "ablation" and contributions is None:
            contributions = self.damage()
        return make_plan(
            self._heatmaps(recipe),
            self.skeleton,
            recipe,
            budget=str(self.parameters),
            contributions=contributions,
            gains=self.gains,
        )

    def by(self, contributions: np.ndarray, **settings: object) -> Plan:
        """A plan with these contributions, (blocks,), and the recipe's other settings."""
        return self.plan(contributions, name="distance", **{"critical": "off"} | settings)

    def damage(self) -> np.ndarray:
        """What skipping each block costs, from 0 to 1, (blocks,).

        Raises:
            LokrWeightingError: it was not measured.
        """
        if self.ablation is None:
            raise LokrWeightingError(
                "plans: ablation is made from what `lokr-weighting ablate` wrote; give --ablation "
                "ablation.json"
            )
        return shares_of_damage(self.ablation, block_names(self.skeleton))

    def depth(self) -> np.ndarray:
        """0 for the first block to 1 for the last, (blocks,)."""
        return np.linspace(0, 1, len(block_names(self.skeleton)))

    def _heatmaps(self, recipe: Recipe) -> Heatmaps:
        if isinstance(self.measured, Heatmaps):
            return self.measured
        return self.measured.heatmaps(recipe.bins, recipe.tokens)


@dataclass(frozen=True)
class Rival:
    """A way to share a budget among a model's Linears.

    Attributes:
        description: what it does, in a sentence.
        plan: makes it; the number tells draws apart where it is drawn at random.
        kind: the adapter that is trained.
        random: whether there are several draws of it.
    """

    description: str
    plan: Callable[[Ground, int], Plan]
    kind: Kind = "lokr"
    random: bool = False


def _shuffled(ground: Ground, number: int) -> Plan:
    """The recipe's contributions and critical blocks, given to blocks at random."""
    plan = ground.plan()
    shares, critical = _shares(plan), plan.critical
    order = np.random.default_rng([number]).permutation(len(shares))
    given = tuple(int(place) for place in np.flatnonzero(np.isin(order, list(critical))))
    return ground.by(shares[order], critical=given)


def _inverse(ground: Ground, _: int) -> Plan:
    """Least where the recipe gives most."""
    return ground.by(1 - _shares(ground.plan()))


def _shares(plan: Plan) -> np.ndarray:
    return np.array([block.contribution for block in plan.blocks])


def _uniform(ground: Ground, _: int = 0) -> Plan:
    return ground.plan(name="distance", critical="off", strength=0)


def _with(description: str, **settings: object) -> Rival:
    """The recipe's plan with other settings."""
    return Rival(description, lambda ground, _: ground.plan(None, **settings))


def _by_recipe(name: RecipeName) -> Rival:
    """The plan of another recipe; what only the study's recipe has, it has not."""
    settings = {} if name == "streams" else {"critical": "off", "strength": 1.0}
    return Rival(RECIPES[name], lambda ground, _: ground.plan(None, name=name, **settings))


RIVALS: dict[str, Rival] = {
    "weighted": Rival("the recipe", lambda ground, _: ground.plan()),
    "uniform": Rival("the same factor everywhere", _uniform),
    "inverse": Rival("least where the recipe gives most", _inverse),
    "random": Rival(
        "the recipe's contributions, given to blocks at random", _shuffled, random=True
    ),
    "later": Rival("more with depth", lambda ground, _: ground.by(ground.depth())),
    "earlier": Rival("less with depth", lambda ground, _: ground.by(ground.depth()[::-1])),
    **{name: _by_recipe(name) for name in RECIPES if name != "distance"},
    "no-critical": _with("the recipe without critical blocks", critical="off"),
    "mild-0.25": _with("the recipe at a strength of 0.25", strength=0.25),
    "mild-0.5": _with("the recipe at a strength of 0.5", strength=0.5),
    "one-for-all": _with("the recipe, all Linears with their block's factor", other_multiplier=1),
    "last-token": _with("the recipe by the last token alone", tokens="last"),
    "even-streams": _with("the recipe, both streams alike", image_weight=0.5, text_weight=0.5),
    "image-alone": _with("the recipe by the image stream alone", **ONE_STREAM["image"]),
    "text-alone": _with("the recipe by the text stream alone", image_weight=0, text_weight=1),
    "no-clip": _with("the recipe without clipping", clip_percentile=100),
    "lora": Rival("a LoRA of the uniform plan's parameters", _uniform, kind="lora"),
}
"""A name to type -> the plan."""
BY_GRADIENT = ("gradient", "gradient-norm")


@dataclass(frozen=True)
class Arm:
    """One plan in a comparison.

    Attributes:
        name: its name there.
        group: the name it was asked for under; draws at random share it.
        plan: the plan.
        kind: the adapter that is trained.
    """

    name: str
    group: str
    plan: Plan
    kind: Kind = "lokr"


def ground_for(
    measured: Calibration | Heatmaps,
    skeleton: Skeleton,
    recipe: Recipe,
    budget: str,
    *,
    ablation: Ablation | None = None,
    gains: Gains | None = None,
) -> Ground:
    """What plans within a budget are made from.

    Raises:
        LokrWeightingError: no plan for this model meets the budget.
    """
    size = possible_size(budget, block_linears(skeleton))
    if gains is None and isinstance(measured, Calibration):
        gains = measured.gains
    return Ground(measured, skeleton, recipe, size, ablation, gains)


def wants_gradients(names: Sequence[str], recipe: Recipe) -> bool:
    """Whether one of the plans goes by gradients, so that these must be measured."""
    return recipe.by_gradient or any(name.partition("#")[0] in BY_GRADIENT for name in names)


def check_names(names: Sequence[str]) -> None:
    """Refuse a name that no plan has, before anything is measured.

    Raises:
        LokrWeightingError: it is no row of `RIVALS` and no file.
    """
    for name in names:
        base = name.partition("#")[0]
        if base not in RIVALS and not Path(base).is_file():
            raise LokrWeightingError(
                f"plans: {name!r} is none of {', '.join(RIVALS)}, and no file of a plan"
            )


def arms_of(names: Sequence[str], ground: Ground, draws: int = 3) -> list[Arm]:
    """The plans of a comparison.

    Args:
        names: rows of `RIVALS`, or files of plans. NAME#2, NAME#3, ... is the same plan once more,
            trained from other initial values.
        ground: what they are made from.
        draws: of plans that are drawn at random.

    Raises:
        LokrWeightingError: a name is neither, a plan is of another model, or it leaves more of the
            budget unused, or needs more, than REFUSED.
    """
    check_names(names)
    arms = [arm for name in names for arm in _arms(name, ground, draws)]
    repeated = {arm.name for arm in arms if sum(each.name == arm.name for each in arms) > 1}
    if repeated:
        raise LokrWeightingError(f"plans: {min(repeated)} is named twice; write {min(repeated)}#2")
    for arm in arms:
        off = abs(arm.plan.parameters - ground.parameters) / ground.parameters
        if off > REFUSED:
            raise LokrWeightingError(
                f"{arm.name}: has {arm.plan.parameters:,} parameters, {off:.1%} away from the "
                f"budget of {ground.parameters:,}, and more than {REFUSED:.0%} would not be "
                "compared alike; choose another budget"
            )
    return arms


def _arms(name: str, ground: Ground, draws: int) -> list[Arm]:
    base = name.partition("#")[0]
    if base in RIVALS:
        row = RIVALS[base]
        if not row.random:
            return [Arm(name, name, row.plan(ground, 0), row.kind)]
        numbers = range(1, draws + 1)
        return [Arm(f"{name}-{each}", name, row.plan(ground, each), row.kind) for each in numbers]
    file = Path(base)
    plan = read_plan(file)
    own = {linear.name for linear in block_linears(ground.skeleton)}
    if {linear.name for linear in plan.linears} != own:
        raise LokrWeightingError(f"{file}: this plan is of another model ({plan.model})")
    stem = file.name.removesuffix(".json").removesuffix(".plan")
    name = stem + name.removeprefix(base)
    return [Arm(name, name, plan)]
