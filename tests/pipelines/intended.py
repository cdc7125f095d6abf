"""What a model must be called with, and what its loss is, from diffusers' own parts.

Written by hand for every kind of pipeline: nothing here goes through this package's rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

from tests.pipelines.parts import MEAN, STD


@dataclass(frozen=True)
class Intended:
    """One kind of pipeline.

    Attributes:
        clean: a pipeline and pixels -> latents, (1, channels, height, width).
        schedule: the schedule of noise; None: flow matching.
        handed: latents -> what the model gets.
        shaped: latents -> the shape that a prediction has; None: as they are handed.
        timestep: a timestep in (0, 1) -> what the model gets.
        velocity: a model's output -> what it predicts, as the pipeline reads it.
    """

    clean: Callable[[Any, Tensor], Tensor]
    schedule: Any = None
    handed: Callable[[Tensor], Tensor] = lambda latents: latents
    shaped: Callable[[Tensor], Tensor] | None = None
    timestep: Callable[[float], float] = lambda t: t
    predicted: Callable[[Tensor], Tensor] = lambda output: output

    def noised(self, clean: Tensor, noise: Tensor, t: float) -> Tensor:
        if self.schedule is None:
            return (1 - t) * clean + t * noise
        return self.schedule.add_noise(clean, noise, torch.tensor([int(1000 * t)]))

    def target(self, clean: Tensor, noise: Tensor, t: float) -> Tensor:
        if self.schedule is None:
            return noise - clean
        if self.schedule.config.prediction_type == "epsilon":
            return noise
        share = self.schedule.alphas_cumprod[int(1000 * t)]
        return share**0.5 * noise - (1 - share) ** 0.5 * clean


def scaled(factor: float, shift: float = 0.0) -> Callable[[Any, Tensor], Tensor]:
    return lambda pipeline, pixels: (
        factor * (pipeline.vae.encode(pixels).latent_dist.mode() - shift)
    )


def standardized(pipeline: Any, pixels: Tensor) -> Tensor:
    encoded = pipeline.vae.encode(pixels.unsqueeze(2)).latent_dist.mode().squeeze(2)
    columns = [(encoded[:, i] - MEAN[i]) / STD[i] for i in range(len(MEAN))]
    return torch.stack(columns, dim=1)


def scaled_frame(pipeline: Any, pixels: Tensor) -> Tensor:
    encoded = pipeline.vae.encode(pixels.unsqueeze(2)).latent_dist.mode()
    return encoded.squeeze(2) * pipeline.vae.config.scaling_factor


def deep(pipeline: Any, pixels: Tensor) -> Tensor:
    return pipeline.vae.encode(pixels).latent * 0.41407


def batch_normed(pipeline: Any, pixels: Tensor) -> Tensor:
    patches = pixel_unshuffle(pipeline.vae.encode(pixels).latent_dist.mode(), 2)
    normed = torch.nn.functional.batch_norm(
        patches, pipeline.vae.bn.running_mean, pipeline.vae.bn.running_var, eps=1e-4
    )
    return torch.nn.functional.pixel_shuffle(normed, 2)


def tokens(latents: Tensor) -> Tensor:
    """Two by two latents as one token's channels, row after row."""
    return pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def flat(latents: Tensor) -> Tensor:
    """Every latent a token."""
    return latents.flatten(2).transpose(1, 2)


def thousandths(t: float) -> float:
    return 1000 * t


def whole(t: float) -> float:
    return int(1000 * t)


def backwards(t: float) -> float:
    return 1 - t


def frame(latents: Tensor) -> Tensor:
    return latents.unsqueeze(2)


def last(latents: Tensor) -> Tensor:
    return latents.permute(0, 2, 3, 1).unsqueeze(1)


def last_with_conditions(latents: Tensor) -> Tensor:
    """Behind the channels: no latents of a frame that is given, and no mark of one."""
    channels = last(latents)
    nothing = torch.zeros(*channels.shape[:-1], channels.shape[-1] + 1)
    return torch.cat([channels, nothing], dim=-1)


def negative(output: Tensor) -> Tensor:
    return -output


LINEAR = DDPMScheduler(beta_schedule="linear", beta_start=0.0001, beta_end=0.02)
SCALED: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
}
FLUX2 = Intended(batch_normed, handed=tokens)
FLUX_VAE = scaled(0.3611, 0.1159)
WAN = Intended(standardized, handed=frame, timestep=thousandths)
PIXART = Intended(
    scaled(0.13025), LINEAR, timestep=whole, predicted=lambda output: output.chunk(2, dim=1)[0]
)
INTENDED: dict[str, Intended] = {
    "qwen-image": Intended(standardized, handed=tokens),
    "flux.2": FLUX2,
    "flux.2-klein": FLUX2,
    "chroma": Intended(FLUX_VAE, handed=tokens),
    "wan2.1": WAN,
    "wan2.2-5b": WAN,
    "pixart-sigma": PIXART,
    "pixart-alpha": PIXART,
    "sana": Intended(deep, timestep=thousandths),
    "sdxl": Intended(scaled(0.13025), DDPMScheduler(**SCALED), timestep=whole),
    "sdxl-v": Intended(
        scaled(0.13025),
        DDPMScheduler(**SCALED, prediction_type="v_prediction"),
        timestep=whole,
    ),
    "sd1.5": Intended(scaled(0.18215), DDPMScheduler(**SCALED), timestep=whole),
    "z-image": Intended(FLUX_VAE, handed=frame, timestep=backwards, predicted=negative),
    "lumina2": Intended(FLUX_VAE, timestep=backwards, predicted=negative),
    "ltx": Intended(standardized, handed=flat, timestep=thousandths),
    "hunyuan-video": Intended(scaled_frame, handed=frame, timestep=thousandths),
    "hidream": Intended(FLUX_VAE, timestep=thousandths, predicted=negative),
    "kandinsky5": Intended(scaled(0.3611), handed=last, timestep=thousandths),
    "kandinsky5-video": Intended(
        scaled_frame, handed=last_with_conditions, shaped=last, timestep=thousandths
    ),
    "cogview4": Intended(scaled(0.9), timestep=thousandths),
}
