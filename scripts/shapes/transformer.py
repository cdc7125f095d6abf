"""The transformer's training with flow matching, its loss and its samples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusion3Pipeline
from losses import Progress
from PIL import Image
from shapes_images import Scene, caption, random_scene
from torch import Tensor
from torch.nn import functional

from shapes.fitting import Recipe, fit
from shapes.pipeline import CAPTION_LENGTH

CAPTION_DROPOUT = 0.1
SAMPLES = 64
GUIDANCE = 4.0
SAMPLING_STEPS = 28


@dataclass(frozen=True)
class TextLength:
    """A ``max_sequence_length``, T5's tokens, that some of the training's steps have.

    Nearly all have the shortest. The transformer must know longer ones as well: what they add is
    padding, but that is attended to. Fewer pictures in these steps keep them as fast as the others.
    """

    tokens: int
    pictures: int
    share: float


TEXT_LENGTHS = (
    TextLength(tokens=CAPTION_LENGTH, pictures=64, share=0.9),
    TextLength(tokens=77, pictures=32, share=0.05),
    TextLength(tokens=256, pictures=16, share=0.05),
)


@torch.no_grad()
def encode_captions(pipeline: Any, captions: list[str], length: int) -> tuple[Tensor, Tensor]:
    """Return the embeddings and pooled embeddings of captions, as the pipeline makes them."""
    embeddings, _, pooled, _ = pipeline.encode_prompt(
        captions, None, None, do_classifier_free_guidance=False, max_sequence_length=length
    )
    return embeddings, pooled


def flow_loss(
    pipeline: StableDiffusion3Pipeline, clean: Tensor, captions: list[str], length: int
) -> Tensor:
    """Return the flow matching loss of a batch of latents at uniform times."""
    embeddings, pooled = encode_captions(pipeline, captions, length)
    noise = torch.randn_like(clean)
    time_ = torch.rand(len(clean))
    mix = time_[:, None, None, None]
    velocity = pipeline.transformer(
        hidden_states=(1 - mix) * clean + mix * noise,
        timestep=time_ * 1000,
        encoder_hidden_states=embeddings,
        pooled_projections=pooled,
    ).sample
    return functional.mse_loss(velocity, noise - clean)


def train_transformer(
    pipeline: StableDiffusion3Pipeline,
    latents: tuple[Tensor, Tensor],
    captions: list[str],
    recipe: Recipe,
    work: Path,
    deadline: float,
) -> Progress:
    """Train with flow matching, the captions left out now and then."""
    mean, deviation = latents
    shares = torch.tensor([length.share for length in TEXT_LENGTHS])

    def batch_loss() -> tuple[Tensor, Tensor]:
        length = TEXT_LENGTHS[int(torch.multinomial(shares, 1))]
        chosen = torch.randint(len(mean), (length.pictures,))
        clean = mean[chosen] + deviation[chosen] * torch.randn_like(mean[chosen])
        kept = (torch.rand(length.pictures) >= CAPTION_DROPOUT).tolist()
        pairs = zip(chosen.tolist(), kept, strict=True)
        texts = [captions[index] if keep else "" for index, keep in pairs]
        loss = flow_loss(pipeline, clean, texts, length.tokens)
        return loss, loss

    return fit(pipeline.transformer, batch_loss, recipe, work, deadline)


@torch.no_grad()
def mean_loss(
    pipeline: StableDiffusion3Pipeline, latents: tuple[Tensor, Tensor], captions: list[str]
) -> float:
    """Return the mean loss on the first 2000 pictures, always with the same noise."""
    torch.manual_seed(0)
    mean, deviation = (part[:2000] for part in latents)
    clean = mean + deviation * torch.randn_like(mean)
    losses = [
        flow_loss(pipeline, part, captions[100 * index :][:100], CAPTION_LENGTH).item()
        for index, part in enumerate(clean.split(100))
    ]
    return float(np.mean(losses))


def draw_samples(pipeline: Any, task: str, seed: int) -> tuple[list[Image.Image], list[Scene]]:
    """Return the pipeline's images of ``SAMPLES`` random scenes of a task, and the scenes."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, task) for _ in range(SAMPLES)]
    drawn: Any = pipeline(
        [caption(scene) for scene in scenes],
        guidance_scale=GUIDANCE,
        num_inference_steps=SAMPLING_STEPS,
        max_sequence_length=CAPTION_LENGTH,
        generator=torch.Generator().manual_seed(seed),
    )
    return drawn.images, scenes
