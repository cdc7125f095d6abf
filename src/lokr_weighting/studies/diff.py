"""Two calibrations side by side: where they differ beyond chance, and what that changes."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.plan.plan import Plan
from lokr_weighting.records.heatmaps import Heatmaps

LEVEL = 0.05  # the chance that any difference is reported where there is none


@dataclass(frozen=True)
class Difference:
    """One block's mean distance in one stream, in both calibrations.

    Attributes:
        block: the block's number.
        stream: "image" or "text".
        a: the mean distance in the first.
        b: the same in the second.
        error: the standard error of b - a.
        beyond_chance: whether it is larger than chance allows among so many.
    """

    block: int
    stream: str
    a: float
    b: float
    error: float
    beyond_chance: bool

    @property
    def z(self) -> float:
        """The difference in standard errors."""
        return (self.b - self.a) / self.error if self.error else math.inf


@dataclass(frozen=True)
class Moved:
    """A block that the two plans treat differently: its factors, if any, and parameters in both."""

    block: int
    factor_a: int | None
    factor_b: int | None
    parameters_a: int
    parameters_b: int


def differences(a: Heatmaps, b: Heatmaps) -> list[Difference]:
    """Every block and stream of two measurements with standard errors.

    A difference is beyond chance if its z is larger than Sidak's limit for all comparisons
    together: where nothing differs, any is reported with a chance of LEVEL (Sidak, 1967).

    Raises:
        LokrWeightingError: the measurements are of different blocks, or have no standard errors.
    """
    if a.block_count != b.block_count or (a.blocks and b.blocks and a.blocks != b.blocks):
        raise LokrWeightingError(
            f"the measurements are of different models: {a.block_count} blocks ({a.model}) and "
            f"{b.block_count} blocks ({b.model})"
        )
    rows: list[tuple[int, str, float, float, float]] = []
    for stream in ("image", "text"):
        errors = [getattr(each, f"{stream}_error") for each in (a, b)]
        if any(error is None for error in errors):
            raise LokrWeightingError(
                "a measurement without samples has no standard errors; give two calibrations"
            )
        means = [getattr(each, stream).mean(axis=0) for each in (a, b)]
        joint = np.sqrt(np.square(errors[0]) + np.square(errors[1]))
        rows += [
            (block, stream, float(means[0][block]), float(means[1][block]), float(joint[block]))
            for block in np.flatnonzero(~np.isnan(means[0] + means[1])).tolist()
        ]
    limit = NormalDist().inv_cdf(1 - (1 - (1 - LEVEL) ** (1 / len(rows))) / 2)
    return [
        Difference(block, stream, x, y, error, abs(y - x) > limit * error)
        for block, stream, x, y, error in rows
    ]


def moved_blocks(a: Plan, b: Plan) -> list[Moved]:
    """The blocks whose splits differ between two plans for the same model."""
    splits = [
        {linear.name: (linear.block, linear.split) for linear in plan.linears} for plan in (a, b)
    ]
    blocks = sorted(
        {block for name, (block, split) in splits[0].items() if splits[1][name][1] != split}
    )
    return [
        Moved(
            block,
            a.blocks[block].factor,
            b.blocks[block].factor,
            a.parameters_of(block),
            b.parameters_of(block),
        )
        for block in blocks
    ]
