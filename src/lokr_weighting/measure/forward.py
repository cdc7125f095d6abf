"""A diffusers pipeline as the forward: encoded once, then one transformer call for each sample.

Text and the transformer's inputs are diffusers' work. A text-to-image pipeline called with noised
`latents`, `num_inference_steps=1`, `sigmas=[t]`, no guidance and an unshifted flow-match scheduler
runs its transformer once, at exactly timestep t.
"""

from typing import Any

import torch
from torch import Tensor

from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.samples import Sample
from lokr_weighting.measure.distances import Distances
from lokr_weighting.measure.probe import Probe
from lokr_weighting.models.loading import Offload, place
from lokr_weighting.models.table import pipeline_call


class PipelineForward:
    """Runs one sample: noise its latents, and run the transformer once.

    Args:
        encoder: everything encoded; its pipeline's transformer is run.
        offload: keep the transformer on the CPU and bring its parts when they are needed, by
            diffusers' group offloading or accelerate's sequential offloading.
    """

    def __init__(self, encoder: Encoder, offload: Offload = "none") -> None:
        self.encoder = encoder
        self.pipeline = encoder.pipeline
        self.call = pipeline_call(type(self.pipeline).__name__)
        place(self.pipeline.transformer, encoder.device, offload)

    def distances(self, probe: Probe, sample: Sample, latents_key: Any, caption: str) -> Distances:
        """The distances of one sample, a batch of one.

        Args:
            probe: on this pipeline's transformer, entered.
            sample: the sample.
            latents_key: what its latents were encoded under.
            caption: its caption.
        """
        return probe.measure(
            lambda: self._denoise(sample, latents_key, caption),
            samples=[sample.index],
            text_mask=self.encoder.real.get(caption),
        )

    def loss(self, sample: Sample, latents_key: Any, caption: str) -> Tensor:
        """One sample's flow-matching loss, on the device."""
        clean, denoised = self._denoise(sample, latents_key, caption)
        # one step from t to 0 takes t times the predicted velocity away
        missed = (denoised - clean).float() / sample.timestep
        return missed.square().mean()

    @torch.no_grad()
    def _denoise(self, sample: Sample, latents_key: Any, caption: str) -> tuple[Tensor, Tensor]:
        """A sample's latents without noise, and what one step makes of them with noise."""
        device, scale = self.encoder.device, self.pipeline.vae_scale_factor
        clean = self.encoder.latents[latents_key]
        noise = noise_of(sample, clean)
        latents = ((1 - sample.timestep) * clean + sample.timestep * noise).to(device)
        _, channels, height, width = latents.shape
        if self.call.packed:
            latents, clean = (
                self.pipeline._pack_latents(each, 1, channels, height, width)
                for each in (latents, clean)
            )
        embeddings = self.encoder.embeddings[caption]
        denoised = self.pipeline(
            latents=latents,
            height=height * scale,
            width=width * scale,
            num_inference_steps=1,
            sigmas=[sample.timestep],
            output_type="latent",
            **{name: value.to(device) for name, value in embeddings.items()},
            **self.call.call,
        ).images
        return clean.to(device), denoised


def noise_of(sample: Sample, clean: Tensor) -> Tensor:
    """A sample's noise, in the shape and dtype of its latents: the same every time."""
    generator = torch.Generator().manual_seed(sample.noise_seed)
    return torch.randn(clean.shape, generator=generator).to(clean.dtype)
