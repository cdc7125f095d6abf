"""How latents are noised at a timestep in (0, 1), and what the model is to predict there.

For flow matching the timestep is the share of noise. For models of a noise schedule (epsilon and
v-prediction) it is the share of the training timesteps: at 0.5 of a schedule of 1000 the model gets
timestep 500, and its latents as much noise as the schedule has there.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.experts import Expert, loaded_expert
from lokr_weighting.models.pipeline_call import named
from lokr_weighting.models.table import pipeline_call

FLOW_TIMESTEPS = 1000  # what diffusers' flow-matching pipelines count to
SCHEDULED = ("beta_start", "beta_end", "beta_schedule", "prediction_type")
"""What a scheduler's configuration says of a noise schedule."""


class Objective(Protocol):
    """What a model was trained to do at a timestep."""

    def timesteps(self, shares: Tensor) -> Tensor:
        """What the pipeline's scheduler would count, (batch,), of timesteps in (0, 1), (batch,)."""
        ...

    def noised(self, clean: Tensor, noise: Tensor, shares: Tensor | float) -> Tensor:
        """Latents with noise, (batch, channels, ..., width); at one timestep or at each's."""
        ...

    def target(self, clean: Tensor, noise: Tensor, shares: Tensor | float) -> Tensor:
        """What the model is to predict of them, in the same shape."""
        ...


class FlowMatching:
    """Latents on the straight way from the image to noise; the velocity is predicted."""

    def timesteps(self, shares: Tensor) -> Tensor:
        """The share of noise, in thousandths."""
        return shares * FLOW_TIMESTEPS

    def noised(self, clean: Tensor, noise: Tensor, shares: Tensor | float) -> Tensor:
        """(1 - t) clean + t noise."""
        if isinstance(shares, Tensor):
            shares = shares.view(-1, *[1] * (clean.ndim - 1)).to(clean.dtype)
        return (1 - shares) * clean + shares * noise

    def target(self, clean: Tensor, noise: Tensor, shares: Tensor | float) -> Tensor:
        """The velocity."""
        del shares
        return noise - clean


class NoiseSchedule:
    """The model's own schedule of noise, as diffusers' DDPMScheduler reads its configuration.

    Args:
        scheduler: the pipeline's scheduler.

    Raises:
        LokrWeightingError: its configuration is of no such schedule.
    """

    def __init__(self, scheduler: Any) -> None:
        from diffusers import DDPMScheduler

        config = scheduler.config
        missing = [name for name in SCHEDULED if config.get(name) is None]
        known = ("epsilon", "v_prediction", "sample")
        if missing or config["prediction_type"] not in known:
            says = f"no {', '.join(missing)}" if missing else f"{config['prediction_type']!r}"
            raise LokrWeightingError(
                f"{type(scheduler).__name__}: {says} in its configuration: how this model is "
                "noised is not known here; measure it with a loop of your own and "
                "lokr_weighting.calibrate"
            )
        # of a sampler's settings only those of the schedule count
        own = inspect.signature(DDPMScheduler.__init__).parameters
        self.schedule: Any = DDPMScheduler(
            **{name: value for name, value in config.items() if name in own}
        )

    def timesteps(self, shares: Tensor) -> Tensor:
        """The share of the training timesteps, as a whole number."""
        count = self.schedule.config.num_train_timesteps
        return (shares * count).long().clamp(max=count - 1)

    def noised(self, clean: Tensor, noise: Tensor, shares: Tensor | float) -> Tensor:
        """With as much noise as the schedule has there."""
        timesteps = self._of(clean, shares)
        return self.schedule.add_noise(clean.float(), noise.float(), timesteps).to(clean.dtype)

    def target(self, clean: Tensor, noise: Tensor, shares: Tensor | float) -> Tensor:
        """The noise, the velocity or the image, whatever the model predicts."""
        kind = self.schedule.config.prediction_type
        if kind == "v_prediction":
            timesteps = self._of(clean, shares)
            return self.schedule.get_velocity(clean.float(), noise.float(), timesteps)
        return noise if kind == "epsilon" else clean

    def _of(self, clean: Tensor, shares: Tensor | float) -> Tensor:
        given = torch.as_tensor(shares, dtype=torch.float32, device=clean.device)
        return self.timesteps(given.expand(len(clean)))


class OfExpert:
    """An objective at the timesteps of one of two transformers: (0, 1) is its share of them.

    Args:
        whole: the objective.
        expert: the transformer.
    """

    def __init__(self, whole: Objective, expert: Expert) -> None:
        self.whole, self.expert = whole, expert

    def share(self, shares: Any) -> Any:
        """The share of noise, of timesteps in (0, 1)."""
        return self.expert.low + shares * (self.expert.high - self.expert.low)

    def timesteps(self, shares: Tensor) -> Tensor:
        """As of the whole."""
        return self.whole.timesteps(self.share(shares))

    def noised(self, clean: Tensor, noise: Tensor, shares: Tensor | float) -> Tensor:
        """As of the whole."""
        return self.whole.noised(clean, noise, self.share(shares))

    def target(self, clean: Tensor, noise: Tensor, shares: Tensor | float) -> Tensor:
        """As of the whole."""
        return self.whole.target(clean, noise, self.share(shares))


def proportion(objective: Objective, shares: Tensor, common: float) -> Tensor:
    """How many times the share of noise at a common timestep each one's is, (batch,)."""
    if isinstance(objective, OfExpert):
        return objective.share(shares) / objective.share(common)
    return shares / common


OBJECTIVES: Mapping[str, Callable[[Any], Objective]] = {
    "flow matching": lambda _pipeline: FlowMatching(),
    "noise schedule": lambda pipeline: NoiseSchedule(pipeline.scheduler),
}


def objective_of(pipeline: Any) -> Objective:
    """What a pipeline's model was trained to do.

    Raises:
        LokrWeightingError: that is not known.
    """
    call = pipeline_call(type(pipeline).__name__)
    whole = named(OBJECTIVES, "objective", call.objective)(pipeline)
    expert = loaded_expert(pipeline)
    return whole if expert is None else OfExpert(whole, expert)
