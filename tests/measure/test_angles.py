import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lokr_weighting.measure import angles
from lokr_weighting.measure.angles import angular_distance

CLAMP = 1e-7  # the study clamps the cosine this far from 1


def at_angle(angle: float, tokens: int = 20, width: int = 256, seed: int = 0) -> list[torch.Tensor]:
    """Two float64 tensors, (1, tokens, width), whose rows stand at the angle; lengths differ."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(1, tokens, width, generator=generator, dtype=torch.float64)
    w = torch.randn(1, tokens, width, generator=generator, dtype=torch.float64)
    u = u / u.norm(dim=-1, keepdim=True)
    w = w - (w * u).sum(-1, keepdim=True) * u
    w = w / w.norm(dim=-1, keepdim=True)
    return [3 * u, 0.5 * (math.cos(angle) * u + math.sin(angle) * w)]


def reference(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """float64, of the values as they were rounded to their dtype."""
    a, b = (x.double() / x.double().norm(dim=-1, keepdim=True) for x in (u, v))
    return 2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1)) / math.pi


@given(st.floats(0, math.pi), st.integers(0, 100))
def test_float32_is_right_to_1e_5_at_every_angle(angle: float, seed: int) -> None:
    u, v = (x.float() for x in at_angle(angle, seed=seed))
    found = angular_distance(u, v)
    torch.testing.assert_close(found.double(), reference(u, v), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        found.double(), torch.full((1, 20), angle / math.pi).double(), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("angle", [0.0, 1e-3, 1e-1, 1.5, 3.0])
def test_half_precision_inputs_lose_nothing_more(dtype: torch.dtype, angle: float) -> None:
    u, v = (x.to(dtype) for x in at_angle(angle))
    found = angular_distance(u, v)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), reference(u, v), atol=1e-6, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-4, 1e-2, 1.0, 3.0])
def test_the_studys_formula_agrees_to_its_own_clamp(angle: float) -> None:
    u, v = (x.float() for x in at_angle(angle))
    cosine = torch.nn.functional.cosine_similarity(u.double(), v.double(), dim=-1)
    study = torch.acos(cosine.clamp(-1 + CLAMP, 1 - CLAMP)) / math.pi
    clamp_error = math.acos(1 - CLAMP) / math.pi
    assert (angular_distance(u, v) - study).abs().max() <= clamp_error + 1e-6


def test_zero_vectors_have_no_direction() -> None:
    zero, one = torch.zeros(1, 1, 4), torch.ones(1, 1, 4)
    assert angular_distance(zero, one).item() == 0.5
    assert angular_distance(zero, zero).item() == 0.0
    assert angular_distance(one, one).item() == 0.0
    assert angular_distance(one, -one).item() == 1.0


def test_a_token_that_is_not_finite_is_nan_and_leaves_the_others_alone() -> None:
    u, v = (x.float() for x in at_angle(0.5, tokens=3))
    v[0, 1, 7] = torch.inf
    found = angular_distance(u, v)[0]
    assert found.isnan().tolist() == [False, True, False]


def test_chunks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    u, v = (x.float() for x in at_angle(0.7, tokens=50))
    whole = angular_distance(u, v)
    monkeypatch.setattr(angles, "CPU_CHUNK_NUMBERS", 256 * 3)
    torch.testing.assert_close(angular_distance(u, v), whole, atol=1e-7, rtol=0)


def test_the_inputs_are_left_as_they_were() -> None:
    u, v = (x.float() for x in at_angle(0.7))
    before = u.clone(), v.clone()
    angular_distance(u, v)
    assert torch.equal(u, before[0])
    assert torch.equal(v, before[1])


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2, 4\) and \(1, 3, 4\)"):
        angular_distance(torch.ones(1, 2, 4), torch.ones(1, 3, 4))


def test_tensors_of_other_shapes_have_no_angle() -> None:
    with pytest.raises(ValueError, match=r"shapes differ: \(1, 2, 8\) and \(1, 3, 8\)"):
        angular_distance(torch.ones(1, 2, 8), torch.ones(1, 3, 8))
