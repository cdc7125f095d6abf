"""One run of a pipeline's model at timesteps of the caller's choice.

All that comes before the model is the pipeline's own work: its call is run with a scheduler that
knows one step only, at the timesteps given, and the call ends where the scheduler gets the model's
prediction. So it does not matter whether a call takes `sigmas`, what its own scheduler is, or what
it makes of the latents afterwards.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.packings import PACKINGS, Packing
from lokr_weighting.measure.sizing import held_to
from lokr_weighting.models.pipeline_call import PipelineCall, named


@dataclass(frozen=True)
class Step:
    """What the scheduler is asked to step with.

    Attributes:
        prediction: what the model predicts, by the pipeline's own sign and in its own shape.
        latents: what the pipeline would take the step from.
    """

    prediction: Tensor
    latents: Tensor


class _Stepped(Exception):  # noqa: N818  it is how the call ends, not a mistake
    """The scheduler was asked for its step."""


class OneStep(FlowMatchEulerDiscreteScheduler):
    """A scheduler of one step, whatever it is asked for."""

    init_noise_sigma = 1.0
    given: Tensor
    taken: Step | None = None

    def set_timesteps(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
        timesteps: Any = None,
    ) -> None:
        """The timesteps given; nothing else counts."""
        del sigmas, mu, timesteps
        self.num_inference_steps = num_inference_steps
        self.timesteps = self.given.to(device)

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """Latents as they are: they were noised for this step."""
        del timestep
        return sample

    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, model_output: Tensor, timestep: Any, sample: Tensor, **_options: Any
    ) -> Any:
        """End the call."""
        del timestep
        self.taken = Step(model_output, sample)
        raise _Stepped


class OneStepCall:
    """A pipeline's call, ended after one run of its model.

    Args:
        pipeline: the pipeline; it is left as it was.
        call: how it is called.
    """

    def __init__(self, pipeline: Any, call: PipelineCall) -> None:
        self.pipeline, self.call = pipeline, call
        self.packing: Packing = named(PACKINGS, "packing", call.packing)

    def __call__(
        self,
        latents: Tensor,
        timesteps: Tensor,
        embeddings: dict[str, Any],
        *,
        gradients: bool = False,
    ) -> Step:
        """Run the model once.

        Args:
            latents: with noise, (batch, channels, height, width) or of videos (batch, channels,
                frames, height, width), on the device.
            timesteps: what the pipeline's scheduler would count: one, or (1, batch).
            embeddings: the call's arguments for the captions, on the device.
            gradients: keep a graph.

        Raises:
            LokrWeightingError: the pipeline took no step.
        """
        height, width = (
            side * getattr(self.pipeline, self.call.scale) for side in latents.shape[-2:]
        )
        call = type(self.pipeline).__call__
        if gradients:
            # without diffusers' no_grad around it
            call = inspect.unwrap(call)
        held = held_to(self.pipeline, self.call, width, height)
        with held, _stepping(self.pipeline, timesteps) as scheduler, suppress(_Stepped):
            call(
                self.pipeline,
                latents=self.packing.handed(self.pipeline, latents),
                height=height,
                width=width,
                num_inference_steps=1,
                output_type="latent",
                **embeddings,
                **self._frames(latents),
                **self.call.call,
            )
        if scheduler.taken is None:
            raise LokrWeightingError(
                f"{type(self.pipeline).__name__} asked its scheduler for no step: it cannot be run"
            )
        return scheduler.taken

    def _frames(self, latents: Tensor) -> dict[str, int]:
        """How many frames the call is told that a video has; an image is a video of one."""
        if self.call.temporal is None:
            return {}
        further = latents.shape[2] - 1 if latents.ndim == 5 else 0
        return {"num_frames": further * getattr(self.pipeline, self.call.temporal) + 1}

    def predicted(self, latents: Tensor) -> Tensor:
        """Latents in the shape of a prediction."""
        return self.packing.predicted(self.pipeline, latents)


@contextmanager
def _stepping(pipeline: Any, timesteps: Tensor) -> Iterator[OneStep]:
    """Within, the pipeline's scheduler has one step, at these timesteps."""
    own, one = pipeline.scheduler, OneStep()
    one.given = timesteps
    pipeline.scheduler = one
    try:
        yield one
    finally:
        pipeline.scheduler = own


def stepped_to_zero(step: Step, share: float) -> Tensor:
    """What one step of flow matching from a share of noise to none makes of the latents."""
    change = torch.tensor(-share, dtype=torch.float32)
    moved = step.latents.to(torch.float32) + change * step.prediction
    return moved.to(step.prediction.dtype)
