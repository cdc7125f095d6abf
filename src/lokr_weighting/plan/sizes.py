"""Sizes: what each factor becomes in a model, and what that costs, before anything is measured."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lokr_weighting.models.blocks import BlockLinear
from lokr_weighting.plan.budget import costs_of, largest_size
from lokr_weighting.plan.file_size import BYTES_PER_PARAMETER, file_overhead
from lokr_weighting.plan.splits import Split, capped, factor_ranges, largest_factor, split_of


@dataclass(frozen=True)
class SplitCost:
    """The factors from `low` to `high`, which all become one split.

    Attributes:
        low: the least of them.
        high: the largest of them.
        split: what they become.
        parameters: trainable parameters of one Linear with that split.
    """

    low: int
    high: int
    split: Split
    parameters: int


@dataclass(frozen=True)
class ShapeSizes:
    """Every split that the Linears of one shape can have.

    Attributes:
        out_features: output width; a convolution's output channels.
        in_features: input width; a convolution's input channels, of one group.
        kernel: a convolution's kernel; () for a Linear.
        count: how many of the model's Linears have this shape.
        names: what they are called inside a block, each name once.
        splits: from factor 1 upwards (most parameters first).
    """

    out_features: int
    in_features: int
    kernel: tuple[int, ...]
    count: int
    names: tuple[str, ...]
    splits: tuple[SplitCost, ...]


@dataclass(frozen=True)
class UniformSize:
    """What one factor for every Linear costs; the factors from `low` to `high` cost the same.

    Attributes:
        low: the least of them.
        high: the largest of them.
        labels: the splits that they become, by label, the most frequent first.
        parameters: trainable parameters in all.
        file_bytes: the largest that a bf16 file of LyCORIS's can be, as budgets in MiB count it.
    """

    low: int
    high: int
    labels: tuple[str, ...]
    parameters: int
    file_bytes: int


def sizes_by_shape(linears: Sequence[BlockLinear]) -> list[ShapeSizes]:
    """Every shape among the Linears, in the order in which they come."""
    same: dict[tuple[int, ...], list[BlockLinear]] = {}
    for linear in linears:
        same.setdefault(linear.shape, []).append(linear)
    return [_sizes_of(members) for members in same.values()]


def uniform_sizes(linears: Sequence[BlockLinear]) -> list[UniformSize]:
    """What one factor for every Linear costs, from 1 to the largest that changes anything.

    A Linear that cannot have so large a factor gets the largest that it can, as `uniform:8` does.
    """
    shapes = {(linear.out_features, linear.in_features) for linear in linears}
    lows = sorted({choice.low for shape in shapes for choice in factor_ranges(*shape)})
    last = max((largest_factor(*shape) for shape in shapes), default=1)
    overhead = file_overhead(linears)
    rows = []
    for low, after in zip(lows, [*lows[1:], last + 1], strict=True):
        parameters = largest_size(f"uniform:{low}", linears)
        size = overhead + BYTES_PER_PARAMETER * parameters
        rows.append(UniformSize(low, after - 1, _labels(linears, low), parameters, size))
    return rows


def _sizes_of(members: Sequence[BlockLinear]) -> ShapeSizes:
    first = members[0]
    ranges = factor_ranges(first.out_features, first.in_features)
    return ShapeSizes(
        out_features=first.out_features,
        in_features=first.in_features,
        kernel=first.kernel,
        count=len(members),
        names=tuple(dict.fromkeys(each.name.removeprefix(f"{each.block}.") for each in members)),
        splits=tuple(
            SplitCost(choice.low, choice.high, choice.split, cost)
            for choice, cost in zip(ranges, costs_of(first), strict=True)
        ),
    )


def _labels(linears: Sequence[BlockLinear], factor: int) -> tuple[str, ...]:
    sizes = [(linear.out_features, linear.in_features) for linear in linears]
    counts = Counter(split_of(*size, capped(factor, *size)).label for size in sizes)
    return tuple(label for label, _ in counts.most_common())
