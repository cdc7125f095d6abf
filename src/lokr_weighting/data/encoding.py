"""Images and captions as a pipeline's latents and embeddings, each encoded once."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lokr_weighting.models.table import pipeline_call


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
        call = pipeline_call(type(self.pipeline).__name__)
        returned = self.pipeline.encode_prompt(prompt=caption, device=self.device, **call.encode)
        self.embeddings[caption] = {
            name: value.cpu()
            for name, value in zip(call.returned, returned, strict=True)
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
