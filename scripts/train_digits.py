"""Train the small Stable Diffusion 3 pipeline that draws handwritten digits.

    python scripts/train_digits.py --output FOLDER

Everything is made here, nothing is downloaded: tokenizers, three frozen random text encoders, an
autoencoder (64x64 images to 16x8x8 latents) and a 12-block transformer, the last two trained on
scikit-learn's 1797 digits. FOLDER becomes an ordinary diffusers folder. The losses, a sheet of
samples and a summary go to ``FOLDER-report``, or where ``--report`` says.

Runs on the processor with a fixed seed. Needs scikit-learn and matplotlib besides torch, diffusers
and transformers.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusion3Pipeline,
)
from diffusers.training_utils import EMAModel
from digits_images import DigitReader, caption, digit_images
from digits_pipeline import CAPTION_LENGTH, make_pipeline
from losses import Losses, Progress, cosine_with_warmup, write_losses
from parts import save
from PIL import Image
from torch import Tensor
from torch.nn import functional

CAPTIONS = [caption(digit) for digit in range(10)] + [""]
EMPTY_CAPTION = 10
AUTOENCODER_STEPS = 1000
KL_WEIGHT = 1e-6
CAPTION_DROPOUT = 0.1
SAMPLES = 8
GUIDANCE = 4.0
SAMPLING_STEPS = 28


@dataclass(frozen=True)
class Phase:
    """A part of the transformer's training.

    Most of the text is padding, and attention over it is most of the cost. So the first phase keeps
    only the first ``clip_tokens`` CLIP tokens, and the second sees just what the pipeline makes at
    inference. Each step draws its ``max_sequence_length`` from ``t5_lengths``.
    """

    steps: int
    batch: int
    clip_tokens: int
    t5_lengths: tuple[int, ...]


PHASES = (
    Phase(steps=4000, batch=128, clip_tokens=16, t5_lengths=(8,)),
    Phase(steps=700, batch=64, clip_tokens=CAPTION_LENGTH, t5_lengths=(32, 77, 256)),
)


def train_autoencoder(vae: AutoencoderKL, pixels: Tensor, steps: int) -> Losses:
    """Train for reconstruction with a small KL term and return the reconstruction losses."""
    optimizer = torch.optim.AdamW(vae.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = cosine_with_warmup(optimizer, steps)
    progress = Progress("autoencoder")
    vae.train()
    for _ in range(steps):
        batch = pixels[torch.randint(len(pixels), (32,))]
        posterior = vae.encode(batch).latent_dist
        rebuilt = vae.decode(posterior.sample()).sample
        reconstruction = functional.mse_loss(rebuilt, batch)
        loss = reconstruction + KL_WEIGHT * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.add(reconstruction)
    vae.eval()
    return progress.losses


@torch.no_grad()
def encode_images(vae: AutoencoderKL, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of all latents, after fitting the scale and shift to them.

    With the fitted ``scaling_factor`` and ``shift_factor`` the latents have mean 0 and variance 1.
    """
    posterior = vae.encode(pixels).latent_dist
    latents = posterior.sample()
    shift, scale = latents.mean().item(), 1 / latents.std().item()
    vae.register_to_config(shift_factor=shift, scaling_factor=scale)
    return (posterior.mean - shift) * scale, posterior.std * scale


@torch.no_grad()
def encode_captions(
    pipeline: StableDiffusion3Pipeline, clip_tokens: int, t5_length: int
) -> tuple[Tensor, Tensor]:
    """Return the embeddings and pooled embeddings of all captions, as the pipeline makes them."""
    embeddings, _, pooled, _ = pipeline.encode_prompt(
        CAPTIONS, None, None, do_classifier_free_guidance=False, max_sequence_length=t5_length
    )
    kept = [embeddings[:, :clip_tokens], embeddings[:, CAPTION_LENGTH:]]
    return torch.cat(kept, dim=1), pooled


def train_transformer(
    pipeline: StableDiffusion3Pipeline, latents: tuple[Tensor, Tensor], labels: Tensor
) -> Losses:
    """Train with flow matching through all phases and leave the averaged weights in place."""
    transformer = pipeline.transformer
    mean, deviation = latents
    weights = list(transformer.parameters())
    optimizer = torch.optim.AdamW(weights, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = cosine_with_warmup(optimizer, sum(phase.steps for phase in PHASES))
    average = EMAModel(weights, decay=0.998)
    progress = Progress("transformer")
    transformer.train()
    for phase in PHASES:
        texts = [encode_captions(pipeline, phase.clip_tokens, n) for n in phase.t5_lengths]
        for _ in range(phase.steps):
            chosen = torch.randint(len(mean), (phase.batch,))
            clean = mean[chosen] + deviation[chosen] * torch.randn_like(mean[chosen])
            noise = torch.randn_like(clean)
            time_ = torch.rand(phase.batch)
            mix = time_[:, None, None, None]
            dropped = torch.rand(phase.batch) < CAPTION_DROPOUT
            captions = labels[chosen].masked_fill(dropped, EMPTY_CAPTION)
            embeddings, pooled = texts[torch.randint(len(texts), ()).item()]
            velocity = transformer(
                hidden_states=(1 - mix) * clean + mix * noise,
                timestep=time_ * 1000,
                encoder_hidden_states=embeddings[captions],
                pooled_projections=pooled[captions],
            ).sample
            loss = functional.mse_loss(velocity, noise - clean)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            average.step(weights)
            progress.add(loss)
    average.copy_to(weights)
    transformer.eval()
    return progress.losses


def draw_samples(pipeline: StableDiffusion3Pipeline, seed: int) -> list[Image.Image]:
    """Draw ``SAMPLES`` images of every digit with the pipeline's default text length."""
    return pipeline(
        CAPTIONS[:EMPTY_CAPTION],
        num_images_per_prompt=SAMPLES,
        guidance_scale=GUIDANCE,
        num_inference_steps=SAMPLING_STEPS,
        generator=torch.Generator().manual_seed(seed),
    ).images


def write_sheet(samples: list[Image.Image], path: Path) -> None:
    """Write all samples as one image with a row of captioned samples for each digit."""
    figure, axes = plt.subplots(10, SAMPLES, figsize=(SAMPLES + 2, 10), layout="constrained")
    for axis, sample in zip(axes.flat, samples, strict=True):
        axis.imshow(sample)
        axis.set_xticks([])
        axis.set_yticks([])
    for axis, text in zip(axes[:, 0], CAPTIONS[:EMPTY_CAPTION], strict=True):
        axis.set_ylabel(text, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=64)
    with Image.open(path) as sheet:
        sheet.convert("RGB").quantize(64).save(path, optimize=True)


def main() -> None:
    """Train everything, save the pipeline and write the report."""
    parser = argparse.ArgumentParser(description="Train the small pipeline that draws digits.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pipeline")
    parser.add_argument("--report", type=Path, help="folder for losses and samples")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default 0)")
    arguments = parser.parse_args()
    report = arguments.report or arguments.output.with_name(arguments.output.name + "-report")
    report.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    start = time.monotonic()

    images, digits = digit_images()
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
    pixels = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    pipeline = make_pipeline()
    losses = {"autoencoder": train_autoencoder(pipeline.vae, pixels, AUTOENCODER_STEPS)}
    latents = encode_images(pipeline.vae, pixels)
    losses["transformer"] = train_transformer(pipeline, latents, torch.from_numpy(digits))
    save(pipeline, arguments.output)
    write_losses(losses, report)

    reader = DigitReader(images, digits)
    samples = draw_samples(pipeline, arguments.seed)
    write_sheet(samples, report / "samples.png")
    summary = {
        "minutes": round((time.monotonic() - start) / 60, 1),
        "reader_accuracy_on_held_out_images": reader.held_out_accuracy,
        "samples_read_as_their_caption": float(
            np.mean(reader.read(samples) == np.repeat(np.arange(10), SAMPLES))
        ),
        "samples": len(samples),
    }
    (report / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
