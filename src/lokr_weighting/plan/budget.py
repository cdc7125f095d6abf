"""Budgets: the recipe's plan made as large as fits.

All factors are scaled by one number, as far as it takes: the recipe's ratios between blocks stay.
Splits are coarse, so what is left over is spent one Linear at a time, in the recipe's order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear
from lokr_weighting.parsing import shortened
from lokr_weighting.plan.file_size import BYTES_PER_PARAMETER, file_overhead
from lokr_weighting.plan.splits import FactorRange, capped, factor_ranges, split_of

PREFIXES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}
SIZES = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@dataclass(frozen=True)
class Wish:
    """What the recipe wants for one Linear.

    Attributes:
        linear: the Linear.
        factor: the factor the recipe gives it, at least 1, whole or not; less is more parameters.
        contribution: the block's contribution in [0, 1]: decides between equal factors.
    """

    linear: BlockLinear
    factor: float
    contribution: float


def largest_size(budget: str, linears: Sequence[BlockLinear]) -> int:
    """The most parameters that `budget` leaves for the splits: what is added counts too.

    Args:
        budget: parameters ("120M"), the size of a bf16 file ("240MiB"), or what one factor for
            all Linears would cost ("uniform:8").
        linears: the Linears that are adapted, with what is added to each.

    Raises:
        LokrWeightingError: the budget is not written in one of these ways.
    """
    added = sum(linear.added for linear in linears)
    if match := re.fullmatch(r"uniform:(\d{1,18})", budget):
        factor = int(match[1])
        if factor < 1:
            raise LokrWeightingError(f"budget {budget!r}: a factor is at least 1")
        return sum(_uniform(linear, factor) for linear in linears)
    if match := re.fullmatch(r"(\d{1,18}(?:\.\d+)?)\s*([A-Za-z]*)", budget):
        number, unit = float(match[1]), match[2]
        if unit in PREFIXES:
            return int(number * PREFIXES[unit]) - added
        if unit in SIZES:
            tensors = number * SIZES[unit] - file_overhead(linears)
            return int(tensors // BYTES_PER_PARAMETER) - added
    raise LokrWeightingError(
        f"budget {shortened(budget)!r} is not understood; write parameters (120M), "
        "the size of a bf16 file (240MiB), or what a uniform factor would cost (uniform:8)"
    )


def possible_size(budget: str, linears: Sequence[BlockLinear]) -> int:
    """As `largest_size`, for a budget that some plan for these Linears meets.

    Raises:
        LokrWeightingError: even the smallest plan is too large, or the budget is more than every
            Linear at factor 1; says both sizes.
    """
    limit = largest_size(budget, linears)
    costs = [costs_of(linear) for linear in linears]
    smallest, largest = (sum(each[end] for each in costs) for end in (-1, 0))
    if not smallest <= limit <= largest:
        added = sum(linear.added for linear in linears)
        counted = f", {added:,} of them added by the template's settings" if added else ""
        raise LokrWeightingError(
            f"budget {shortened(budget)!r} comes to {limit + added:,} parameters; a plan for this "
            f"model has at least {smallest + added:,} and at most {largest + added:,}{counted}"
        )
    return limit


def fit(wishes: Sequence[Wish], budget: str) -> list[int]:
    """The factors, one for each wish, of the largest plan within the budget.

    Between two Linears of one shape, the one the recipe prefers never gets the coarser split. A
    larger budget never gives fewer parameters, and a budget of exactly what the recipe costs
    gives the recipe's own plan.

    Raises:
        LokrWeightingError: as `possible_size`.
    """
    linears = [wish.linear for wish in wishes]
    limit = possible_size(budget, linears)
    ranges = [factor_ranges(linear.out_features, linear.in_features) for linear in linears]
    level = [len(choices) - 1 for choices in ranges]
    costs = [costs_of(linear) for linear in linears]
    size = sum(each[-1] for each in costs)
    preference = sorted(
        range(len(wishes)), key=lambda i: (wishes[i].factor, -wishes[i].contribution, i)
    )
    preferred = _preferred_of_same_shape(preference, linears)
    rank = {wish: place for place, wish in enumerate(preference)}
    # a Linear takes its next finer split when the common scale has come down to high / factor
    steps = sorted(
        (-ranges[i][to].high / wishes[i].factor, rank[i], i, to)
        for i in range(len(wishes))
        for to in range(len(ranges[i]) - 1)
    )
    for _, _, i, to in steps:
        cost = costs[i][to] - costs[i][level[i]]
        before = preferred.get(i)
        in_order = before is None or level[before] <= to
        if level[i] == to + 1 and in_order and size + cost <= limit:
            level[i] = to
            size += cost
    return common_factors(wishes, [choices[at] for choices, at in zip(ranges, level, strict=True)])


def costs_of(linear: BlockLinear) -> Sequence[int]:
    """Parameters of every split that a Linear can have, in the order of `factor_ranges`."""
    return _costs(linear.shape)


@cache  # a plan is judged by hundreds of budgets spent
def _costs(shape: tuple[int, ...]) -> Sequence[int]:
    out_features, in_features, *kernel = shape
    ranges = factor_ranges(out_features, in_features)
    return [choice.split.parameters_with(kernel) for choice in ranges]


def _uniform(linear: BlockLinear, factor: int) -> int:
    size = linear.out_features, linear.in_features
    return split_of(*size, capped(factor, *size)).parameters_with(linear.kernel)


def _preferred_of_same_shape(
    preference: Sequence[int], linears: Sequence[BlockLinear]
) -> dict[int, int]:
    """For each Linear, the one of its shape that the recipe prefers next before it."""
    last: dict[tuple[int, ...], int] = {}
    before: dict[int, int] = {}
    for i in preference:
        shape = linears[i].shape
        if shape in last:
            before[i] = last[shape]
        last[shape] = i
    return before


def common_factors(wishes: Sequence[Wish], chosen: Sequence[FactorRange]) -> list[int]:
    """A factor in each chosen range, as near to the wish's own as can be.

    Linears under one pattern get one factor if their ranges have one in common, so that the
    configuration needs no exceptions.
    """
    together: dict[str, list[int]] = {}
    for i, wish in enumerate(wishes):
        together.setdefault(wish.linear.pattern, []).append(i)
    factors = [0] * len(wishes)
    for members in together.values():
        low = max(chosen[i].low for i in members)
        high = min(chosen[i].high for i in members)
        for i in members:
            least, most = (low, high) if low <= high else (chosen[i].low, chosen[i].high)
            factors[i] = min(max(round(wishes[i].factor), least), most)
    return factors
