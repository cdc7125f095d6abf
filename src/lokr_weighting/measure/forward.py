"""A diffusers pipeline as the forward: encoded once, then one run of its model for each sample."""

from typing import Any

import torch
from torch import Tensor

from lokr_weighting.data.captions import moved
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.samples import Sample
from lokr_weighting.measure.distances import Distances
from lokr_weighting.measure.objectives import objective_of
from lokr_weighting.measure.one_step import OneStepCall, Step, stepped_to_zero
from lokr_weighting.measure.probe import Probe
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import Offload, place


class PipelineForward:
    """Runs one sample: noise its latents, and run the model once.

    Args:
        encoder: everything encoded; its pipeline's transformer or UNet is run.
        offload: keep the model on the CPU and bring its parts when they are needed, by diffusers'
            group offloading or accelerate's sequential offloading.

    Raises:
        LokrWeightingError: how the model is noised is not known.
    """

    def __init__(self, encoder: Encoder, offload: Offload = "none") -> None:
        self.encoder = encoder
        self.call = encoder.call
        self.objective = objective_of(encoder.pipeline)
        self._run = OneStepCall(encoder.pipeline, self.call)
        place(denoiser(encoder.pipeline), encoder.device, offload)

    def distances(self, probe: Probe, sample: Sample, latents_key: Any, caption: str) -> Distances:
        """The distances of one sample, a batch of one.

        Args:
            probe: on this pipeline's model, entered.
            sample: the sample.
            latents_key: what its latents were encoded under.
            caption: its caption.
        """
        return probe.measure(
            lambda: self._step(sample, latents_key, caption),
            samples=[sample.index],
            text_mask=self.encoder.real.get(caption),
        )

    def loss(self, sample: Sample, latents_key: Any, caption: str) -> Tensor:
        """One sample's loss, on the device."""
        step = self._step(sample, latents_key, caption)
        share, clean = sample.timestep, self.encoder.latents[latents_key]
        if self.call.loss_by_step:
            denoised = stepped_to_zero(step, share)
            # one step from t to 0 takes t times the predicted velocity away
            missed = (denoised - self._predicted(clean)).float() / share
        else:
            target = self.objective.target(clean, noise_of(sample.noise_seed, clean), share)
            missed = step.prediction.float() - self._predicted(target).float()
        return missed.square().mean()

    @torch.no_grad()
    def _step(self, sample: Sample, latents_key: Any, caption: str) -> Step:
        """What the model makes of a sample's latents with noise."""
        clean, device = self.encoder.latents[latents_key], self.encoder.device
        noised = self.objective.noised(clean, noise_of(sample.noise_seed, clean), sample.timestep)
        return self._run(
            noised.to(device),
            self.objective.timesteps(torch.tensor([sample.timestep])),
            {name: moved(each, device) for name, each in self.encoder.embeddings[caption].items()},
        )

    def _predicted(self, latents: Tensor) -> Tensor:
        return self._run.predicted(latents).to(self.encoder.device)


def noise_of(seed: int, clean: Tensor) -> Tensor:
    """A sample's noise, in the shape and dtype of its latents: the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clean.shape, generator=generator).to(clean.dtype)
