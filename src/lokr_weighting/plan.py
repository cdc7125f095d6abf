"""The plan: every adapted Linear with its factor, split and parameters, and where it comes from."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lokr_weighting.architectures import empty_transformer
from lokr_weighting.blocks import BlockLinear, block_linears, block_names
from lokr_weighting.budget import Wish, fit
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_model, write_json
from lokr_weighting.heatmaps import Heatmaps
from lokr_weighting.recipe import (
    Reason,
    Recipe,
    block_factors,
    contributions,
    critical_blocks,
)
from lokr_weighting.records import Records, heatmaps_of, stack_records
from lokr_weighting.splits import Split, capped, split_of

if TYPE_CHECKING:
    from torch import nn

    from lokr_weighting.calibration import Calibration

Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """Base of the plan's parts: nothing unknown, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Measurement(Part):
    """Which measurement a plan was made from."""

    identity: str
    model: str | None = None
    samples: int | None = None
    description: str = ""


class BlockPlan(Part):
    """One block: what was measured and what the recipe made of it.

    `image` and `text` are mean distances over the timestep bins (text: null where the block hands
    no text on); `critical` says by which streams' rule the block is critical, or "given".
    `*_error` are standard errors, `kept` the share of resamples in which all of the block's splits
    are the ones written here; null where the measurement's samples are not known.
    """

    name: str
    image: Share
    image_error: float | None = None
    text: Share | None
    text_error: float | None = None
    contribution: Share
    contribution_error: float | None = None
    kept: Share | None = None
    factor: Annotated[int, Field(ge=1)]
    critical: tuple[Reason, ...] = ()


class LinearPlan(Part):
    """One adapted Linear: the factor asked for and the split it becomes.

    `pattern` is the configuration's pattern that names it; `base` says whether it belongs to the
    feed-forward and modulation Linears, which get the block's factor itself.
    """

    name: str
    block: Annotated[int, Field(ge=0)]
    pattern: str
    base: bool
    out_features: Annotated[int, Field(ge=1)]
    in_features: Annotated[int, Field(ge=1)]
    factor: Annotated[int, Field(ge=1)]
    split: Split

    @model_validator(mode="after")
    def _split_fits(self) -> Self:
        out_l, out_k, in_m, in_n = self.split
        if (out_l * out_k, in_m * in_n) != (self.out_features, self.in_features):
            raise ValueError(f"split {tuple(self.split)} does not multiply to this Linear's size")
        return self

    @property
    def parameters(self) -> int:
        """Trainable parameters of this Linear's LoKr."""
        return self.split.parameters


class Plan(Part):
    """A plan; `parameters` is the number of trainable parameters in all."""

    schema_version: Literal[1] = 1
    model: str
    measurement: Measurement
    recipe: Recipe
    budget: str | None = None
    parameters: int
    blocks: tuple[BlockPlan, ...]
    linears: tuple[LinearPlan, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if any(linear.block >= len(self.blocks) for linear in self.linears):
            raise ValueError("a Linear names a block that the plan does not have")
        if (total := sum(linear.parameters for linear in self.linears)) != self.parameters:
            raise ValueError(f"parameters is {self.parameters}, but the splits add up to {total}")
        return self

    @property
    def identity(self) -> str:
        """A short fingerprint: equal for equal plans."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def critical(self) -> tuple[int, ...]:
        """The critical blocks' indices."""
        return tuple(i for i, block in enumerate(self.blocks) if block.critical)

    def parameters_of(self, *blocks: int) -> int:
        """Trainable parameters of these blocks together."""
        return sum(linear.parameters for linear in self.linears if linear.block in blocks)

    def parameters_without_critical(self) -> int:
        """What the plan would cost with critical blocks switched off; without a budget."""
        factors = block_factors(np.array([x.contribution for x in self.blocks]), {}, self.recipe)
        total = 0
        for linear in self.linears:
            factor = _recipe_factor(linear, factors[linear.block], self.recipe)
            factor = capped(factor, linear.out_features, linear.in_features)
            total += split_of(linear.out_features, linear.in_features, factor).parameters
        return total

    def collapsed(self) -> dict[str, list[int]]:
        """The splits that more than one factor became: split's label -> those factors."""
        factors: dict[str, Counter[int]] = {}
        for linear in self.linears:
            factors.setdefault(linear.split.label, Counter())[linear.factor] += 1
        return {
            label: sorted(found)
            for label, found in sorted(factors.items(), key=lambda item: min(item[1]))
            if len(found) > 1
        }


def make_plan(
    measured: "Calibration | Records | Heatmaps",
    model: "nn.Module | str",
    recipe: Recipe | None = None,
    budget: str | None = None,
    name: str | None = None,
) -> Plan:
    """Turn a measurement into a plan.

    Args:
        measured: a calibration or records, from which the plan also gets standard errors and says
            how settled it is, or heatmaps, (bins, blocks) for each stream.
        model: the transformer, or its name as for `empty_transformer`; only its module names and
            Linear widths are read.
        recipe: the settings; the study's by default.
        budget: "120M", "240MiB", "uniform:8" or None for what the recipe itself costs.
        name: what the plan calls the model; by default its own name.

    Raises:
        LokrWeightingError: the measurement is of another number of blocks than the model has, the
            model's family is not known, a timestep bin is empty, or the budget cannot be met.
    """
    recipe = recipe or Recipe()
    heatmaps, records = _averaged(measured, recipe)
    name = name or (model if isinstance(model, str) else _name_of(model))
    transformer = empty_transformer(model) if isinstance(model, str) else model
    names = block_names(transformer)
    _check_blocks(heatmaps, names, name)

    found = block_linears(transformer)
    shares, critical, factors = block_choice(heatmaps, recipe)
    wanted = linear_factors(found, names, shares, factors, recipe, budget)
    settled = None
    if records is not None:
        from lokr_weighting.settle import judge

        settled = judge(records, found, names, recipe, budget)
    linears = tuple(
        _linear_plan(linear, names.index(linear.block), factor)
        for linear, factor in zip(found, wanted, strict=True)
    )
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
        parameters=sum(linear.parameters for linear in linears),
        blocks=tuple(
            BlockPlan(
                name=block,
                image=float(image[i]),
                image_error=_number(heatmaps.image_error, i),
                text=_number(text, i),
                text_error=_number(heatmaps.text_error, i),
                contribution=float(shares[i]),
                contribution_error=_number(settled and settled.contribution_error, i),
                kept=_number(settled and settled.kept, i),
                factor=factors[i],
                critical=critical.get(i, ()),
            )
            for i, block in enumerate(names)
        ),
        linears=linears,
    )


def block_choice(
    heatmaps: Heatmaps, recipe: Recipe
) -> tuple[np.ndarray, dict[int, tuple[Reason, ...]], list[int]]:
    """The blocks' contributions, which are critical and why, and every block's factor."""
    shares = contributions(heatmaps, recipe)
    critical = critical_blocks(heatmaps, recipe)
    return shares, critical, block_factors(shares, critical, recipe)


def linear_factors(
    linears: Sequence[BlockLinear],
    names: Sequence[str],
    shares: np.ndarray,
    factors: Sequence[int],
    recipe: Recipe,
    budget: str | None,
) -> list[int]:
    """The factor of every Linear, within its limit and the budget.

    Args:
        linears: the Linears.
        names: the blocks' names; `shares` and `factors` are in this order.
        shares: contributions, (blocks,).
        factors: the blocks' factors, (blocks,).
        recipe: the settings.
        budget: as in `make_plan`.
    """
    index = {block: i for i, block in enumerate(names)}
    wanted = [_recipe_factor(linear, factors[index[linear.block]], recipe) for linear in linears]
    if budget is not None:
        weights = [float(shares[index[linear.block]]) for linear in linears]
        wanted = fit([Wish(*wish) for wish in zip(linears, wanted, weights, strict=True)], budget)
    return [
        capped(factor, linear.out_features, linear.in_features)
        for linear, factor in zip(linears, wanted, strict=True)
    ]


def read_plan(path: Path) -> Plan:
    """Read a plan's JSON file.

    Raises:
        LokrWeightingError: the file is missing or not a plan; names file and key.
    """
    return read_model(path, Plan)


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan as JSON; `read_plan` gives an equal plan back."""
    write_json(path, plan.model_dump(mode="json"))


def _recipe_factor(linear: BlockLinear | LinearPlan, factor: int, recipe: Recipe) -> int:
    """The factor for a Linear of a block that has `factor`, before any limit."""
    return factor if linear.base else factor * recipe.other_multiplier


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
    )


def _number(values: np.ndarray | None, block: int) -> float | None:
    """One block's number; None where it is not known or the block has none."""
    return None if values is None or np.isnan(values[block]) else float(values[block])


def _averaged(
    measured: "Calibration | Records | Heatmaps", recipe: Recipe
) -> tuple[Heatmaps, Records | None]:
    """The heatmaps, and the samples where they are known."""
    if isinstance(measured, Heatmaps):
        return measured, None
    if isinstance(measured, Records):
        return heatmaps_of(measured, recipe.bins), measured
    records = stack_records(list(measured.records), recipe.tokens)
    return measured.heatmaps(recipe.bins, recipe.tokens), records


def _name_of(transformer: "nn.Module") -> str:
    config = getattr(transformer, "config", None)
    return getattr(config, "_name_or_path", None) or type(transformer).__name__


def _check_blocks(heatmaps: Heatmaps, names: list[str], model: str) -> None:
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
