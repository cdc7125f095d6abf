"""The plan: every adapted Linear with its factor, split and parameters, and where it comes from."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from lokr_weighting.digests import short_digest
from lokr_weighting.files import read_model, write_json
from lokr_weighting.models.blocks import Stream
from lokr_weighting.notebooks import ShownInNotebooks
from lokr_weighting.plan.alone import Alone, blocks_alone
from lokr_weighting.plan.recipe import Reason, Recipe
from lokr_weighting.plan.splits import Split

Share = Annotated[float, Field(ge=0, le=1)]
Width = Annotated[int, Field(ge=1, le=1 << 20)]
"""A side of a Linear: those of the widest models have a tenth of that."""


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

    `image` and `text` are mean distances over the timestep bins (image: null where the block has
    text alone; text: null where it hands no text on); `critical` says by which streams' rule the
    block is critical, or "given". `*_error` are standard errors, `kept` the share of resamples in
    which all of the block's splits are the ones written here; null where the measurement's samples
    are not known. `factor` is null where the recipe chooses for each Linear instead, and where the
    block is left out.
    """

    name: str
    image: Share | None
    image_error: float | None = None
    text: Share | None
    text_error: float | None = None
    contribution: Share
    contribution_error: float | None = None
    kept: Share | None = None
    factor: Annotated[int, Field(ge=1)] | None
    critical: tuple[Reason, ...] = ()


class LinearPlan(Part):
    """One adapted Linear or convolution: the factor asked for and the split it becomes.

    `pattern` is the configuration's pattern that names it; `base` says whether it belongs to the
    feed-forward and modulation Linears, which get the block's factor itself. `added` counts what a
    template has LyCORIS train beside the split's two matrices (DoRA's scales). A convolution has a
    `kernel`; its `in_features` are one group's input channels. In a plan for a trainer whose model
    has other names than diffusers', `joins` are diffusers' Linears that are one there.
    `unmeasured` names the stream that it works on, where that is not measured.
    """

    name: str
    block: Annotated[int, Field(ge=0)]
    pattern: str
    base: bool
    out_features: Width
    in_features: Width
    factor: Width
    split: Split
    added: Annotated[int, Field(ge=0)] = 0
    kernel: tuple[Annotated[int, Field(ge=1)], ...] = ()
    groups: Annotated[int, Field(ge=1)] = 1
    joins: tuple[str, ...] = ()
    unmeasured: str | None = None

    @model_serializer(mode="wrap")
    def _linears_as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A Linear is written without keys that are not its own, as before there were any."""
        written = write(self)
        if not self.kernel:
            del written["kernel"], written["groups"]
        if not self.joins:
            del written["joins"]
        if self.unmeasured is None:
            del written["unmeasured"]
        return written

    @model_validator(mode="after")
    def _split_fits(self) -> Self:
        out_l, out_k, in_m, in_n = self.split
        sides = (out_l * out_k, in_m * in_n)
        if min(self.split) < 1 or sides != (self.out_features, self.in_features):
            raise ValueError(f"split {tuple(self.split)} does not multiply to this Linear's size")
        return self

    @property
    def parameters(self) -> int:
        """Trainable parameters of this Linear's or convolution's LoKr."""
        return self.split.parameters_with(self.kernel) + self.added

    @property
    def shape(self) -> tuple[int, ...]:
        """Its weight's shape."""
        return self.out_features, self.in_features, *self.kernel

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of w1 and w2."""
        return self.split.shapes_with(self.kernel)


class Selected(Part):
    """Which part of the model was asked for (`plan.selection`), where not all of it is planned.

    `stream` says whose Linears alone are planned, beside those that both streams pass through;
    null: all of the blocks'. `left_out` counts the Linears and convolutions that are not.
    """

    blocks: str
    stream: Stream | None = None
    left_out: Annotated[int, Field(ge=0)]


class Plan(ShownInNotebooks, Part):
    """A plan; `parameters` is the number of trainable parameters in all.

    `blocks` are all of the model's; those of which `linears` names nothing are left out, as
    `selected` asked.
    """

    schema_version: Literal[1] = 1
    model: str
    measurement: Measurement
    recipe: Recipe
    budget: str | None = None
    selected: Selected | None = None
    parameters: int
    blocks: tuple[BlockPlan, ...]
    linears: tuple[LinearPlan, ...]

    @model_serializer(mode="wrap")
    def _whole_models_as_ever(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The plan of a whole model is written as before there were others."""
        written = write(self)
        if self.selected is None:
            del written["selected"]
        return written

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if any(linear.block >= len(self.blocks) for linear in self.linears):
            raise ValueError("a Linear names a block that the plan does not have")
        if (total := sum(linear.parameters for linear in self.linears)) != self.parameters:
            raise ValueError(f"parameters is {self.parameters}, but the Linears add up to {total}")
        return self

    def __repr__(self) -> str:
        budget = "" if self.budget is None else f", budget={self.budget!r}"
        return (
            f"Plan(model={self.model!r}, {len(self.blocks)} blocks, {len(self.linears)} modules, "
            f"{self.parameters:,} parameters{budget})"
        )

    __str__ = __repr__

    @property
    def identity(self) -> str:
        """A short fingerprint: equal for equal plans."""
        return short_digest([self.model_dump_json()])

    @property
    def critical(self) -> tuple[int, ...]:
        """The critical blocks' indices, of those that are planned."""
        left_out = {*self.left_out}
        return tuple(
            i for i, block in enumerate(self.blocks) if block.critical and i not in left_out
        )

    @property
    def left_out(self) -> tuple[int, ...]:
        """The indices of the blocks that are not planned."""
        planned = {linear.block for linear in self.linears}
        return tuple(index for index, _ in enumerate(self.blocks) if index not in planned)

    @property
    def has_own_names(self) -> bool:
        """Whether its Linears are a trainer's own model's, and not diffusers'."""
        return any(linear.joins for linear in self.linears)

    @property
    def alone(self) -> Alone:
        """Which blocks have one stream alone."""
        image, text = (
            np.array([getattr(block, stream) is not None for block in self.blocks])
            for stream in ("image", "text")
        )
        return blocks_alone(image, text, [block.name for block in self.blocks])

    def parameters_of(self, *blocks: int) -> int:
        """Trainable parameters of these blocks together."""
        return sum(linear.parameters for linear in self.linears if linear.block in blocks)

    def collapsed(self) -> dict[str, list[int]]:
        """The splits that more than one factor became: split's label -> those factors."""
        factors: dict[str, Counter[int]] = {}
        for linear in self.linears:
            factors.setdefault(linear.split.label, Counter())[linear.factor] += 1
        return {
            label: sorted(asked)
            for label, asked in sorted(factors.items(), key=lambda item: min(item[1]))
            if len(asked) > 1
        }


def read_plan(path: Path) -> Plan:
    """Read a plan's JSON file.

    Raises:
        LokrWeightingError: the file is missing or not a plan; names file and key.
    """
    return read_model(path, Plan)


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan as JSON; `read_plan` gives an equal plan back."""
    write_json(path, plan.model_dump(mode="json"))
