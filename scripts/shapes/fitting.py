"""A network trained by its recipe, with checkpoints that it goes on from exactly."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from losses import Progress, cosine_with_warmup
from torch import Tensor, nn

CHECKPOINT_EVERY = 200


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: AdamW, a cosine down to zero, a running average of the weights.

    Attributes:
        name: what its losses and its checkpoint are called.
        steps: the length of the schedule.
        rate: the greatest learning rate.
        weight_decay: AdamW's.
        average: the running average's decay for each step.
        seed: of all chance in the training.
    """

    name: str
    steps: int
    rate: float
    weight_decay: float
    average: float
    seed: int


def save_whole(data: Any, path: Path) -> None:
    """Write a file in one step."""
    unfinished = path.with_name(f".{path.name}.part")
    torch.save(data, unfinished)
    unfinished.replace(path)


def fit(
    network: nn.Module,
    batch_loss: Callable[[], tuple[Tensor, Tensor]],
    recipe: Recipe,
    work: Path,
    deadline: float = math.inf,
) -> Progress:
    """Train a network by its recipe and leave the averaged weights in place.

    Args:
        network: what is trained, in place.
        batch_loss: draws a batch and returns the loss to lower and the loss to report.
        recipe: how it is trained.
        work: where the checkpoint lies; a training that was stopped goes on from it exactly.
        deadline: the time on ``time.monotonic`` at which the training ends early.

    Returns:
        The progress, with the number of steps that were really made.
    """
    path = work / f"{recipe.name}.pt"
    weights = list(network.parameters())
    optimizer = torch.optim.AdamW(
        weights, lr=recipe.rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
    )
    schedule = cosine_with_warmup(optimizer, recipe.steps)
    average = EMAModel(weights, decay=recipe.average)
    progress = Progress(recipe.name)
    torch.manual_seed(recipe.seed)
    if path.exists():
        stored = torch.load(path, weights_only=True)
        network.load_state_dict(stored["network"])
        optimizer.load_state_dict(stored["optimizer"])
        schedule.load_state_dict(stored["schedule"])
        average.load_state_dict(stored["average"])
        torch.set_rng_state(stored["chance"])
        progress.steps, progress.losses = stored["steps"], stored["losses"]
        progress.pending = stored["pending"]
        progress.start = time.monotonic() - stored["seconds"]
        print(f"{recipe.name} goes on from step {progress.steps} of {recipe.steps}", flush=True)
    network.train()
    while progress.steps < recipe.steps and time.monotonic() < deadline:
        loss, reported = batch_loss()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        average.step(weights)
        progress.add(reported)
        last = progress.steps == recipe.steps or time.monotonic() >= deadline
        if last or progress.steps % CHECKPOINT_EVERY == 0:
            save_whole(
                {
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "average": average.state_dict(),
                    "chance": torch.get_rng_state(),
                    "steps": progress.steps,
                    "losses": progress.losses,
                    "pending": progress.pending,
                    "seconds": time.monotonic() - progress.start,
                },
                path,
            )
    if progress.steps < recipe.steps:
        print(f"{recipe.name} ends early at step {progress.steps} of {recipe.steps}", flush=True)
    average.copy_to(weights)
    network.eval()
    return progress
