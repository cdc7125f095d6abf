"""The losses of a training, collected, printed and drawn, and its schedule."""

import json
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

LOG_EVERY = 50

Losses = list[tuple[int, float]]


class Progress:
    """Collects losses, averages and prints them every ``LOG_EVERY`` steps."""

    def __init__(self, name: str) -> None:
        """Start the clock."""
        self.name = name
        self.losses: Losses = []
        self.pending: list[float] = []
        self.steps = 0
        self.start = time.monotonic()

    def add(self, loss: Tensor) -> None:
        """Count one step."""
        self.steps += 1
        self.pending.append(loss.item())
        if len(self.pending) == LOG_EVERY:
            mean = sum(self.pending) / LOG_EVERY
            self.losses.append((self.steps, mean))
            self.pending.clear()
            seconds = time.monotonic() - self.start
            print(f"{self.name} step {self.steps}: loss {mean:.5f}, {seconds:.0f} s", flush=True)


def cosine_with_warmup(
    optimizer: torch.optim.Optimizer, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return a schedule of 100 steps of warmup, then half a cosine down to zero."""
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=100)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - 100))
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[100])


def write_losses(losses: dict[str, Losses], folder: Path) -> None:
    """Write the losses as numbers and as a curve for each trained part."""
    (folder / "loss.json").write_text(json.dumps(losses, indent=1) + "\n", encoding="utf-8")
    figure, axes = plt.subplots(1, len(losses), figsize=(9, 3.5), layout="constrained")
    for axis, (name, curve) in zip(axes, losses.items(), strict=True):
        axis.plot(*zip(*curve, strict=True))
        axis.set(title=name, xlabel="training step", ylabel="loss", yscale="log")
    figure.savefig(folder / "loss.svg")
