"""Noise schedules are the model's own, whatever its sampler; what is none is refused by name."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
)

from lokr_weighting import LokrWeightingError
from lokr_weighting.measure.objectives import OBJECTIVES, NoiseSchedule

BETAS: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SHARES = torch.tensor([0.0005, 0.4321, 0.99995])


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize(
    "sampler", [DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler]
)
def test_the_sampler_does_not_matter_its_schedule_does(sampler: Any, zero_snr: bool) -> None:
    settings = {**BETAS, "rescale_betas_zero_snr": zero_snr, "prediction_type": "v_prediction"}
    found = NoiseSchedule(sampler(**settings))
    clean, noise = torch.randn(2, 3, 4, 8, 8)
    steps = torch.tensor([0, 432, 999])
    assert found.timesteps(SHARES).equal(steps)
    true: Any = DDPMScheduler(**settings)
    assert found.noised(clean, noise, SHARES).equal(true.add_noise(clean, noise, steps))
    assert found.target(clean, noise, SHARES).equal(true.get_velocity(clean, noise, steps))
    one = found.noised(clean[1:2], noise[1:2], float(SHARES[1]))
    assert one.equal(true.add_noise(clean, noise, steps)[1:2])


@pytest.mark.parametrize(
    ("scheduler", "says"),
    [
        (EDMEulerScheduler(), "EDMEulerScheduler: no beta_start, beta_end, beta_schedule in"),
        (EulerDiscreteScheduler(prediction_type="flow"), "EulerDiscreteScheduler: 'flow' in its"),
    ],
)
def test_what_is_no_known_schedule_is_refused_by_name(scheduler: Any, says: str) -> None:
    with pytest.raises(LokrWeightingError, match=says):
        OBJECTIVES["noise schedule"](SimpleNamespace(scheduler=scheduler))
