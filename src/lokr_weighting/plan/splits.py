"""Splits: what a factor really does to a Linear or a convolution, and what that costs.

A full-matrix LoKr writes the update of a Linear's weight (out, in) as a Kronecker product of
w1 (out_l, in_m) and w2 (out_k, in_n), with out = out_l * out_k and in = in_m * in_n
(LoKr: Yeh et al., "Navigating Text-To-Image Customization", 2023, arXiv 2309.14859). Of a
convolution's weight (out, in of one group, *kernel) w2 has the kernel: (out_k, in_n, *kernel).
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple


class Split(NamedTuple):
    """The Kronecker split of one Linear: (out_l, out_k) x (in_m, in_n)."""

    out_l: int
    out_k: int
    in_m: int
    in_n: int

    @property
    def parameters(self) -> int:
        """Trainable parameters of a Linear's full-matrix LoKr with this split."""
        return self.parameters_with(())

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of a Linear's w1 and w2."""
        return self.shapes_with(())

    def parameters_with(self, kernel: Sequence[int]) -> int:
        """The same for a convolution with this kernel; () is a Linear's."""
        return sum(math.prod(shape) for shape in self.shapes_with(kernel))

    def shapes_with(self, kernel: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of w1 and w2, for a convolution with this kernel; () is a Linear's."""
        return (self.out_l, self.in_m), (self.out_k, self.in_n, *kernel)

    @property
    def label(self) -> str:
        """The short form: the numbers that w1 takes from out and in, "8" where both are 8."""
        return str(self.out_l) if self.out_l == self.in_m else f"{self.out_l}x{self.in_m}"


class FactorRange(NamedTuple):
    """The factors from `low` to `high` that all give one `split`."""

    low: int
    high: int
    split: Split


def largest_factor(out_features: int, in_features: int) -> int:
    """The largest factor that every LyCORIS and peft loader reads back the same way.

    Beyond the square root of the smaller side, a loader can no longer tell from the tensors'
    shapes which split was meant. A side of 1 (a depthwise convolution's input) is never split, so
    the other one decides.
    """
    sides = [side for side in (out_features, in_features) if side > 1]
    return math.isqrt(min(sides, default=1))


def capped(factor: int, out_features: int, in_features: int) -> int:
    """The factor, or the largest that a Linear of this size can have where that is less."""
    return min(factor, largest_factor(out_features, in_features))


@cache
def split_of(out_features: int, in_features: int, factor: int) -> Split:
    """The split LyCORIS makes of a Linear(in_features, out_features) when asked for `factor`.

    A factor that does not divide a side becomes the largest smaller divisor of that side.

    Args:
        out_features: the Linear's output width.
        in_features: the Linear's input width.
        factor: at least 1 and at most `largest_factor(out_features, in_features)`.

    Raises:
        ValueError: the factor is out of that range.
    """
    if not 1 <= factor <= largest_factor(out_features, in_features):
        raise ValueError(
            f"factor {factor} for a Linear({in_features}, {out_features}); "
            f"1 to {largest_factor(out_features, in_features)} can be used"
        )
    out_l, in_m = (_largest_divisor(side, factor) for side in (out_features, in_features))
    return Split(out_l, out_features // out_l, in_m, in_features // in_m)


def _largest_divisor(side: int, limit: int) -> int:
    """The largest divisor of a side that is no larger than `limit`."""
    return next(divisor for divisor in range(limit, 0, -1) if side % divisor == 0)


@cache
def factor_ranges(out_features: int, in_features: int) -> tuple[FactorRange, ...]:
    """Every split a Linear can have, from factor 1 upwards (most parameters first)."""
    ranges: list[FactorRange] = []
    for factor in range(1, largest_factor(out_features, in_features) + 1):
        split = split_of(out_features, in_features, factor)
        if ranges and ranges[-1].split == split:
            ranges[-1] = ranges[-1]._replace(high=factor)
        else:
            ranges.append(FactorRange(factor, factor, split))
    return tuple(ranges)
