"""Norms, singular values and effective ranks of matrices, and of products of two thin ones."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

DRAWS, SIDE, LONGEST = 8, 96, 64
"""Random matrices are drawn so often, at most so large, and at most so many times as long."""


@dataclass(frozen=True)
class Spread:
    """A matrix's Frobenius norm, and its effective rank."""

    norm: float
    rank: float


def spread_of(*factors: Tensor) -> Spread:
    """The norm and the effective rank of a matrix, or of a product that is not made.

    Args:
        factors: one matrix, or two, (out, inner) and (inner, in); of finite numbers.
    """
    matrices = [factor.double() for factor in factors]
    if len(matrices) == 2:
        # orthogonal matrices at either end change neither norm nor singular values
        left, right = torch.linalg.qr(matrices[0]).R, torch.linalg.qr(matrices[1].mT).R
        matrices = [left @ right.mT]
    (matrix,) = matrices
    largest = float(matrix.abs().max())
    if not largest:
        return Spread(0.0, 0.0)
    matrix = matrix / largest  # squares of any number are then no infinity
    norm = largest * float(torch.linalg.vector_norm(matrix))
    return Spread(norm, effective_rank(_singular_values(matrix)))


def effective_rank(values: Tensor) -> float:
    """The exponential of the entropy of singular values over their sum (Roy and Vetterli, 2007).

    Args:
        values: not negative.

    Returns:
        from 1, where one value has all of the sum, to their number, where all are the same; 0 where
        all are 0.
    """
    total = float(values.sum())
    if not total:
        return 0.0
    shares = values.double() / total
    return float(torch.exp(-torch.special.xlogy(shares, shares).sum()))


@cache
def noise_share(*shapes: tuple[int, int]) -> float:
    """The effective rank of random matrices, over the largest possible; the mean of some draws.

    Where sides are large only their ratios count (Marchenko and Pastur, 1967), so that small ones
    are drawn in their place: 0.8 of a square matrix, near 1 of a long one.

    Args:
        shapes: of the factors, as for `spread_of`; their numbers are independent and Gaussian.
    """
    most = min(side for shape in shapes for side in shape)
    shrink = min(1.0, SIDE / most)
    small = [tuple(round(min(side, LONGEST * most) * shrink) for side in shape) for shape in shapes]
    drawn = torch.Generator().manual_seed(0)
    ranks = [
        spread_of(*(torch.randn(shape, generator=drawn) for shape in small)).rank
        for _ in range(DRAWS)
    ]
    return sum(ranks) / DRAWS / min(side for shape in small for side in shape)


def _singular_values(matrix: Tensor) -> Tensor:
    """Of a matrix of float64, from its Gram matrix: three times as fast as from itself.

    What is below a ten-millionth of the largest is lost, and is nothing in an entropy.
    """
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.mT
    squares = torch.linalg.eigvalsh(matrix @ matrix.mT)
    lost = squares[-1] * len(squares) * torch.finfo(squares.dtype).eps
    return torch.where(squares > lost, squares, 0.0).sqrt()
