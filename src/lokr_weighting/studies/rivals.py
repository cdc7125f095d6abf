"""Plans by name: the recipe's, and those that it must be compared with, at one budget.

To add one, add a row to `RIVALS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.plan.budget import possible_size
from lokr_weighting.plan.factors import block_choice
from lokr_weighting.plan.make import make_plan
from lokr_weighting.plan.plan import Plan, read_plan
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.studies.ablation import Ablation

Kind = Literal["lokr", "lora"]
CLOSE, REFUSED = 0.01, 0.03  # shares of the budget that a plan may leave unused: said, refused


@dataclass(frozen=True)
class Ground:
    """What plans are made from.

    Attributes:
        heatmaps: the measurement.
        skeleton: the model.
        recipe: the recipe of the weighted plan.
        parameters: the budget, in trainable parameters.
        ablation: what it costs to skip each block, where that was measured.
    """

    heatmaps: Heatmaps
    skeleton: Skeleton
    recipe: Recipe
    parameters: int
    ablation: Ablation | None = None

    def plan(self, contributions: np.ndarray | None = None, **settings: object) -> Plan:
        """A plan by the recipe with other settings, or with other contributions, (blocks,)."""
        recipe = Recipe.model_validate(self.recipe.model_dump() | settings)
        return make_plan(
            self.heatmaps,
            self.skeleton,
            recipe,
            budget=str(self.parameters),
            contributions=contributions,
        )

    def depth(self) -> np.ndarray:
        """0 for the first block to 1 for the last, (blocks,)."""
        return np.linspace(0, 1, self.heatmaps.block_count)


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
    shares, critical, _ = block_choice(ground.heatmaps, ground.recipe)
    order = np.random.default_rng([number]).permutation(len(shares))
    given = tuple(int(place) for place in np.flatnonzero(np.isin(order, list(critical))))
    return ground.plan(shares[order], critical=given)


def _inverse(ground: Ground, _: int) -> Plan:
    """Least where the recipe gives most."""
    return ground.plan(1 - block_choice(ground.heatmaps, ground.recipe)[0], critical="off")


def _by_damage(ground: Ground, _: int) -> Plan:
    """Most where skipping a block costs most."""
    if ground.ablation is None:
        raise LokrWeightingError(
            "plans: ablation is made from what `lokr-weighting ablate` wrote; give --ablation "
            "ablation.json"
        )
    blocks, damage = block_names(ground.skeleton), ground.ablation.damage
    missing = [block for block in blocks if block not in damage]
    if missing:
        raise LokrWeightingError(
            f"the ablation is of another model ({ground.ablation.model}): it has no {missing[0]}"
        )
    costs = np.array([damage[block].change for block in blocks])
    return ground.plan((costs - costs.min()) / (costs.max() - costs.min()), critical="off")


RIVALS: dict[str, Rival] = {
    "weighted": Rival("the recipe", lambda ground, _: ground.plan()),
    "uniform": Rival("the same factor everywhere", lambda ground, _: ground.plan(strength=0)),
    "inverse": Rival("least where the recipe gives most", _inverse),
    "random": Rival(
        "the recipe's contributions, given to blocks at random", _shuffled, random=True
    ),
    "later": Rival(
        "more with depth", lambda ground, _: ground.plan(ground.depth(), critical="off")
    ),
    "earlier": Rival(
        "less with depth", lambda ground, _: ground.plan(ground.depth()[::-1], critical="off")
    ),
    "ablation": Rival("more where skipping a block costs more", _by_damage),
    "no-critical": Rival(
        "the recipe without critical blocks", lambda ground, _: ground.plan(critical="off")
    ),
    "mild-0.25": Rival(
        "the recipe at a strength of 0.25", lambda ground, _: ground.plan(strength=0.25)
    ),
    "mild-0.5": Rival(
        "the recipe at a strength of 0.5", lambda ground, _: ground.plan(strength=0.5)
    ),
    "lora": Rival(
        "a LoRA of the uniform plan's parameters",
        lambda ground, _: ground.plan(strength=0),
        kind="lora",
    ),
}
"""A name to type -> the plan."""


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
    heatmaps: Heatmaps,
    skeleton: Skeleton,
    recipe: Recipe,
    budget: str,
    *,
    ablation: Ablation | None = None,
) -> Ground:
    """What plans within a budget are made from.

    Raises:
        LokrWeightingError: no plan for this model meets the budget.
    """
    size = possible_size(budget, block_linears(skeleton))
    return Ground(heatmaps, skeleton, recipe, size, ablation)


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
