"""The autoencoder's training, and the latents that it gives."""

from pathlib import Path
from typing import Any

import torch
from losses import Losses
from torch import Tensor
from torch.nn import functional
from train_digits import encode_images

from shapes.fitting import Recipe, fit, save_whole
from shapes.pictures import Pictures

KL_WEIGHT = 2e-7


def train_autoencoder(vae: Any, pictures: list[Pictures], work: Path, seed: int) -> Losses:
    """Train for reconstruction with a small KL term and return the reconstruction losses.

    The convolutions run in bfloat16 with the channels last, which halves their time.
    """
    pixels = torch.cat([part.pixels for part in pictures])
    vae.to(memory_format=torch.channels_last)

    def batch_loss() -> tuple[Tensor, Tensor]:
        batch = pixels[torch.randint(len(pixels), (16,))].float() / 127.5 - 1
        batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(batch).latent_dist
            rebuilt = vae.decode(posterior.sample()).sample
        reconstruction = functional.mse_loss(rebuilt.float(), batch)
        return reconstruction + KL_WEIGHT * posterior.kl().mean(), reconstruction

    recipe = Recipe("autoencoder", 6000, rate=2e-3, weight_decay=0.0, average=0.995, seed=seed)
    losses = fit(vae, batch_loss, recipe, work).losses
    vae.to(memory_format=torch.contiguous_format)
    return losses


def fit_scale(vae: Any, pictures: Pictures) -> None:
    """Fit the autoencoder's scale and shift to the first 1000 pictures, see train_digits."""
    torch.manual_seed(0)
    encode_images(vae, pictures.batch(slice(1000)))


@torch.no_grad()
def encode_pictures(vae: Any, pictures: Pictures, path: Path) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of all latents, scaled and shifted, and keep them in ``path``."""
    if not path.exists():
        posteriors = [
            vae.encode(pictures.batch(slice(start, start + 500))).latent_dist
            for start in range(0, len(pictures.pixels), 500)
        ]
        save_whole(
            {
                "mean": torch.cat([posterior.mean for posterior in posteriors]),
                "deviation": torch.cat([posterior.std for posterior in posteriors]),
            },
            path,
        )
    stored = torch.load(path, weights_only=True)
    scale = vae.config.scaling_factor
    return (stored["mean"] - vae.config.shift_factor) * scale, stored["deviation"] * scale


@torch.no_grad()
def rebuild(vae: Any, pictures: Pictures) -> Tensor:
    """Return what the autoencoder makes of pictures, in [-1, 1]."""
    parts = [pictures.batch(slice(n, n + 100)) for n in range(0, len(pictures.pixels), 100)]
    rebuilt = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in parts]
    return torch.cat(rebuilt).clamp(-1, 1)
