"""A diffusers pipeline as the forward: encode once, then one transformer call for each sample.

Text and the transformer's inputs are diffusers' work. A text-to-image pipeline called with noised
`latents`, `num_inference_steps=1`, `sigmas=[t]`, no guidance and an unshifted flow-match scheduler
runs its transformer once, at exactly timestep t.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lokr_weighting.data.loading import Offload, place
from lokr_weighting.data.ways import way_of
from lokr_weighting.draw import Sample
from lokr_weighting.probe import Distances, Probe


@dataclass
class Encoder:
    """Turns crops and captions into latents and embeddings, each once, kept on the CPU.

    Attributes:
        pipeline: the pipeline; its VAE and text encoders are used.
        device: where they run.
        latents: what was encoded, by a key of the caller's.
        embeddings: the call's arguments for each caption.
    """

    pipeline: Any
    device: torch.device
    latents: dict[Any, Tensor] = field(default_factory=dict)
    embeddings: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def multiple(self) -> int:
        """What an image's sides must be multiples of, in pixels: a patch of two latents."""
        return 2 * self.pipeline.vae_scale_factor

    @torch.no_grad()
    def encode_image(self, key: Any, pixels: Tensor) -> None:
        """Encode an image, (3, height, width) in [-1, 1], to the mode of its latents."""
        vae = self.pipeline.vae.to(self.device)
        encoded = vae.encode(pixels[None].to(self.device, vae.dtype)).latent_dist.mode()
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        self.latents[key] = ((encoded - shift) * vae.config.scaling_factor).cpu()

    @torch.no_grad()
    def encode_caption(self, caption: str) -> None:
        """Encode a caption, once."""
        if caption in self.embeddings:
            return
        for name, component in self.pipeline.components.items():
            if name.startswith("text_encoder") and component is not None:
                component.to(self.device)
        way = way_of(type(self.pipeline).__name__)
        returned = self.pipeline.encode_prompt(prompt=caption, device=self.device, **way.encode)
        self.embeddings[caption] = {
            name: value.cpu()
            for name, value in zip(way.returned, returned, strict=True)
            if name is not None
        }

    def free(self) -> None:
        """Let go of the VAE, the text encoders and their memory."""
        for name, component in self.pipeline.components.items():
            if name == "vae" or name.startswith("text_encoder"):
                if component is not None and not getattr(component, "is_quantized", False):
                    component.to("cpu")
                setattr(self.pipeline, name, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class PipelineForward:
    """Measures one sample: noise its latents, run the transformer once, take the distances.

    Args:
        encoder: everything encoded; its pipeline's transformer is run.
        probe: the probe on that transformer, entered.
        offload: keep the transformer on the CPU and bring its parts when they are needed, by
            diffusers' group offloading or accelerate's sequential offloading.
    """

    def __init__(self, encoder: Encoder, probe: Probe, offload: Offload = "none") -> None:
        self.encoder, self.probe = encoder, probe
        self.pipeline = encoder.pipeline
        self.way = way_of(type(self.pipeline).__name__)
        place(self.pipeline.transformer, encoder.device, offload)

    def __call__(self, sample: Sample, latents_key: Any, caption: str) -> Distances:
        """The distances of one sample, a batch of one."""
        self.probe.samples = [sample.index]
        self.loss(sample, latents_key, caption)
        return self.probe.take()

    @torch.no_grad()
    def loss(self, sample: Sample, latents_key: Any, caption: str) -> Tensor:
        """Run one sample; its flow-matching loss, on the device."""
        device, scale = self.encoder.device, self.pipeline.vae_scale_factor
        clean = self.encoder.latents[latents_key]
        generator = torch.Generator().manual_seed(sample.noise_seed)
        noise = torch.randn(clean.shape, generator=generator).to(clean.dtype)
        latents = ((1 - sample.timestep) * clean + sample.timestep * noise).to(device)
        _, channels, height, width = latents.shape
        if self.way.packed:
            latents, clean = (
                self.pipeline._pack_latents(each, 1, channels, height, width)
                for each in (latents, clean)
            )
        embeddings = self.encoder.embeddings[caption]
        if self.way.mask is not None:
            # AuraFlow's mask repeats each token's entry over the embedding's width
            tokens = embeddings["prompt_embeds"].shape[:2]
            self.probe.text_mask = embeddings[self.way.mask].reshape(*tokens, -1)[..., 0]
        denoised = self.pipeline(
            latents=latents,
            height=height * scale,
            width=width * scale,
            num_inference_steps=1,
            sigmas=[sample.timestep],
            output_type="latent",
            **{name: value.to(device) for name, value in embeddings.items()},
            **self.way.call,
        ).images
        # one step from t to 0 takes t times the predicted velocity away
        missed = (denoised - clean.to(device)).float() / sample.timestep
        return missed.square().mean()
