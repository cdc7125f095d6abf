"""From a measurement to a plan."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear, block_linears, block_names
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.skeleton import Skeleton, class_of, skeleton_of
from lokr_weighting.plan.added import NOTHING, Added
from lokr_weighting.plan.averaged import averaged
from lokr_weighting.plan.choice import Choice, choice_by_distance, choice_of
from lokr_weighting.plan.factors import linear_factors, wanted_factor
from lokr_weighting.plan.gradient import factors_by_gain, shares_by_norm
from lokr_weighting.plan.plan import BlockPlan, LinearPlan, Measurement, Plan, Selected
from lokr_weighting.plan.recipe import Recipe, block_factors
from lokr_weighting.plan.selection import read_selection
from lokr_weighting.plan.settled import Settled, judge
from lokr_weighting.plan.splits import capped, split_of
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.gains import Gains
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.record import Records

if TYPE_CHECKING:
    from torch import nn


def make_plan(
    measured: Calibration | Records | Heatmaps,
    model: "nn.Module | Skeleton | str",
    recipe: Recipe | None = None,
    *,
    budget: str | None = None,
    blocks: str | None = None,
    name: str | None = None,
    settled: Settled | None = None,
    contributions: np.ndarray | None = None,
    gains: Gains | None = None,
    added: Added = NOTHING,
    linears: Sequence[BlockLinear] | None = None,
) -> Plan:
    """Turn a measurement into a plan.

    Args:
        measured: a calibration or records, from which the plan also gets standard errors and says
            how settled it is, or heatmaps, (bins, blocks) for each stream.
        model: the transformer, its skeleton, or its name as for `load_skeleton`; only its module
            names and Linear widths are read.
        recipe: the settings; the study's by default.
        budget: "120M", "240MiB", "uniform:8" or None for what the recipe itself costs.
        blocks: plan a part of the model alone, as for `read_selection`: "top:8", "3,5,10-20",
            "transformer_blocks.7", "image", ... What every block contributes, and its factor, is
            as for the whole; the budget is for the part.
        name: what the plan calls the model; by default its own name.
        settled: what resampling these samples said, where the same recipe and budget have been
            judged already.
        contributions: of the blocks, (blocks,), each in [0, 1], in the place of the measurement's
            own; then only blocks that the recipe gives by hand are critical, and nothing is said of
            how settled the plan is.
        gains: for recipes by gradient; by default the calibration's own.
        added: what a template adds to every Linear (`targets.lycoris.added_by`): the budget counts
            it.
        linears: the Linears to plan, where a trainer's model joins some of diffusers' into one
            (`targets.kohya.linears`); by default the model's own.

    Raises:
        LokrWeightingError: the measurement is of another number of blocks than the model has or
            lacks what the recipe goes by, the model's family is not known, a timestep bin is empty,
            the budget cannot be met, or `blocks` names what the model does not have.
    """
    recipe = recipe or Recipe()
    if recipe.name == "gradient" and linears is not None:
        raise LokrWeightingError(
            "the recipe gradient goes by what each of diffusers' Linears gains, and this trainer's "
            "model joins several into one; use gradient-norm or distance"
        )
    heatmaps, records = averaged(measured, recipe)
    name = name or (model if isinstance(model, str) else _name_of(model))
    skeleton = load_skeleton(model) if isinstance(model, str) else skeleton_of(model)
    names, own = block_names(skeleton), block_linears(skeleton)
    inside = added.to(own if linears is None else linears)
    _check_blocks(heatmaps, names, name)

    if gains is None and isinstance(measured, Calibration):
        gains = measured.gains
    named = replace(heatmaps, blocks=tuple(names))
    choice = _choice(named, recipe, own, names, contributions, gains)
    selection = None if blocks is None else read_selection(blocks, names)
    part = inside
    if selection is not None:
        part = [inside[place] for place in selection.places_by(choice, inside, names)]
    if recipe.name == "gradient" and gains is not None:
        wanted = factors_by_gain(part, gains, budget)
    else:
        wanted = linear_factors(part, names, choice, recipe, budget)
    if records is None or contributions is not None or not recipe.by_distance:
        settled = None
    elif (
        settled is None
        or settled.samples != len(records.timesteps)
        or added != NOTHING
        or linears is not None
    ):
        settled = judge(records, inside, names, recipe, budget, selection=selection)
    planned_linears = tuple(
        _linear_plan(linear, names.index(linear.block), factor)
        for linear, factor in zip(part, wanted, strict=True)
    )
    planned = {linear.block for linear in part}
    image, text = heatmaps.image.mean(axis=0), heatmaps.text.mean(axis=0)
    return Plan(
        model=name,
        measurement=Measurement(
            identity=heatmaps.identity,
            model=heatmaps.model,
            samples=heatmaps.samples,
            description=heatmaps.description,
        ),
        recipe=recipe,
        budget=budget,
        selected=selection
        and Selected(
            blocks=selection.asked,
            stream=selection.stream,
            left_out=len(inside) - len(part),
        ),
        parameters=sum(linear.parameters for linear in planned_linears),
        blocks=tuple(
            BlockPlan(
                name=block,
                image=_number(image, i),
                image_error=_number(heatmaps.image_error, i),
                text=_number(text, i),
                text_error=_number(heatmaps.text_error, i),
                contribution=float(choice.shares[i]),
                contribution_error=_number(settled and settled.contribution_error, i),
                kept=_number(settled and settled.kept, i),
                factor=None
                if recipe.name == "gradient" or block not in planned
                else choice.factors[i],
                critical=choice.critical.get(i, ()),
            )
            for i, block in enumerate(names)
        ),
        linears=planned_linears,
    )


def parameters_without_critical(plan: Plan) -> int:
    """What the plan would cost with critical blocks switched off; without a budget."""
    factors = block_factors(np.array([x.contribution for x in plan.blocks]), {}, plan.recipe)
    total = 0
    for linear in plan.linears:
        factor = wanted_factor(linear.base, factors[linear.block], plan.recipe)
        factor = capped(factor, linear.out_features, linear.in_features)
        split = split_of(linear.out_features, linear.in_features, factor)
        total += split.parameters_with(linear.kernel) + linear.added
    return total


def _choice(
    heatmaps: Heatmaps,
    recipe: Recipe,
    linears: Sequence[BlockLinear],
    names: Sequence[str],
    contributions: np.ndarray | None,
    gains: Gains | None,
) -> Choice:
    """What the recipe makes of the blocks, by what it goes by."""
    if contributions is not None:
        return choice_of(contributions, heatmaps, recipe)
    if recipe.by_distance:
        return choice_by_distance(heatmaps, recipe)
    if not recipe.by_gradient:
        raise LokrWeightingError("the recipe ablation goes by an ablation.json; give one")
    if gains is None:
        raise LokrWeightingError(
            f"the recipe {recipe.name} goes by gradients, which were not measured; run calibrate "
            "again with --gradients"
        )
    return choice_of(shares_by_norm(linears, names, gains), heatmaps, recipe)


def _linear_plan(linear: BlockLinear, block: int, factor: int) -> LinearPlan:
    return LinearPlan(
        name=linear.name,
        block=block,
        pattern=linear.pattern,
        base=linear.base,
        out_features=linear.out_features,
        in_features=linear.in_features,
        factor=factor,
        split=split_of(linear.out_features, linear.in_features, factor),
        added=linear.added,
        kernel=linear.kernel,
        groups=linear.groups,
        joins=linear.joins,
        unmeasured=linear.unmeasured,
    )


def _number(values: np.ndarray | None, block: int) -> float | None:
    """One block's number; None where it is not known or the block has none."""
    return None if values is None or np.isnan(values[block]) else float(values[block])


def _name_of(model: "nn.Module | Skeleton") -> str:
    config = getattr(model, "config", None)
    return getattr(config, "_name_or_path", None) or class_of(model)[0]


def _check_blocks(heatmaps: Heatmaps, names: list[str], model: str) -> None:
    if not names:
        raise LokrWeightingError(f"{model} has no blocks: there is nothing to plan")
    if heatmaps.block_count != len(names):
        measured = f" of {heatmaps.model}" if heatmaps.model else ""
        raise LokrWeightingError(
            f"the measurement{measured} has {heatmaps.block_count} blocks, "
            f"but {model} has {len(names)} ({names[0]} to {names[-1]})"
        )
    if heatmaps.blocks is not None and list(heatmaps.blocks) != names:
        other = next((a, b) for a, b in zip(heatmaps.blocks, names, strict=True) if a != b)
        raise LokrWeightingError(
            f"the measurement's block {other[0]} is {other[1]} in {model}: "
            "it was made on another kind of model"
        )
