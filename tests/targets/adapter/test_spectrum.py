import math

import pytest
import torch

from lokr_weighting.targets.adapter.spectrum import effective_rank, noise_share, spread_of


@pytest.mark.parametrize(
    ("values", "rank"),
    [
        ([1.0, 1.0, 1.0], 3.0),
        ([5.0, 0.0, 0.0], 1.0),
        ([0.0, 0.0], 0.0),
        ([3.0, 1.0], math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))),
    ],
)
def test_the_effective_rank_is_the_exponential_of_the_entropy(
    values: list[float], rank: float
) -> None:
    assert effective_rank(torch.tensor(values)) == pytest.approx(rank)


@pytest.mark.parametrize("shape", [(7, 7), (5, 40), (40, 5), (1, 9), (1, 1)])
def test_a_matrix_has_the_rank_of_its_own_singular_values(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    spread = spread_of(matrix)
    values = torch.linalg.svdvals(matrix.double())
    assert spread.rank == pytest.approx(effective_rank(values), rel=1e-9)
    assert spread.norm == pytest.approx(float(matrix.double().norm()), rel=1e-12)


@pytest.mark.parametrize(("out", "inner", "into"), [(30, 4, 50), (3, 8, 5), (6, 6, 1)])
def test_a_product_is_measured_without_making_it(out: int, inner: int, into: int) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(shape, generator=generator) for shape in ((out, inner), (inner, into))
    )
    product = first.double() @ second.double()
    spread = spread_of(first, second)
    assert spread.norm == pytest.approx(float(product.norm()), rel=1e-12)
    expected = effective_rank(torch.linalg.svdvals(product))
    assert spread.rank == pytest.approx(expected, rel=1e-6)


def test_one_direction_in_a_large_matrix_is_one() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.outer(*torch.randn((2, 300), generator=generator))
    assert spread_of(matrix).rank == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_no_number_is_too_small_or_too_large(scale: float) -> None:
    matrix = torch.randn((6, 9), generator=torch.Generator().manual_seed(0)).double()
    spread = spread_of(matrix * scale)
    assert spread.rank == pytest.approx(spread_of(matrix).rank)
    assert spread.norm == pytest.approx(float(matrix.norm()) * scale)
    assert spread_of(matrix * 0).rank == 0


@pytest.mark.parametrize("shapes", [((400, 400),), ((150, 600),), ((300, 40), (40, 500))])
def test_noise_is_foretold_from_smaller_matrices(shapes: tuple[tuple[int, int], ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    rank = spread_of(*(torch.randn(shape, generator=generator) for shape in shapes)).rank
    most = min(side for shape in shapes for side in shape)
    assert noise_share(*shapes) == pytest.approx(rank / most, rel=0.01)


def test_noise_of_a_square_matrix_uses_four_fifths() -> None:
    assert noise_share((1000, 1000)) == pytest.approx(0.8, abs=0.01)
    assert noise_share((1, 64)) == 1
