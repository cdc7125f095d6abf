"""A reader of pictures: which scene does one show?"""

from pathlib import Path

import numpy as np
import torch
from losses import Losses
from PIL import Image
from safetensors.torch import load_file, save_file
from shapes_images import ATTRIBUTES, IMAGE_SIZE, Scene
from torch import Tensor, nn
from torch.nn import functional

from shapes.fitting import Recipe, fit
from shapes.pictures import Pictures

READ_ATTRIBUTES = ("shape", "colour", "count", "place")


class ReaderNetwork(nn.Sequential):
    """From pixels in [-1, 1] to the scores of all values of all attributes, side by side."""

    def __init__(self) -> None:
        """Start untrained."""
        layers: list[nn.Module] = []
        before = 3
        for width, stride in ((16, 1), (32, 2), (48, 2), (64, 2), (64, 2)):
            layers += [nn.Conv2d(before, width, 3, stride, 1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        values = sum(map(len, ATTRIBUTES.values()))
        layers += [nn.Flatten(), nn.Linear(64 * (IMAGE_SIZE // 16) ** 2, 128), nn.SiLU()]
        super().__init__(*layers, nn.Linear(128, values))


class SceneReader:
    """Reads which scene a picture of any task shows."""

    def __init__(self, network: ReaderNetwork) -> None:
        """Read with a trained network."""
        self.network = network.eval()

    @classmethod
    def load(cls, path: Path) -> "SceneReader":
        """Return the reader that :meth:`save` wrote."""
        network = ReaderNetwork()
        network.load_state_dict(load_file(path))
        return cls(network)

    def save(self, path: Path) -> None:
        """Write the reader as safetensors."""
        save_file(self.network.state_dict(), path)

    def read(self, images: list[Image.Image]) -> list[Scene]:
        """Return the scene that each image seems to show."""
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        return self.read_pixels(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)

    @torch.no_grad()
    def read_pixels(self, pixels: Tensor) -> list[Scene]:
        """Return the scene that each image, (count, 3, 64, 64) in [-1, 1], seems to show."""
        scores = torch.cat([self.network(part) for part in pixels.split(100)])
        parts = scores.split([len(values) for values in ATTRIBUTES.values()], dim=1)
        read = {
            name: [values[index] for index in part.argmax(1).tolist()]
            for (name, values), part in zip(ATTRIBUTES.items(), parts, strict=True)
        }
        rows = zip(*read.values(), strict=True)
        return [Scene(**dict(zip(read, row, strict=True))) for row in rows]


def agreement(read: list[Scene], meant: list[Scene]) -> dict[str, float]:
    """Return the share of scenes read as meant, by attribute and for all that matter at once."""
    pairs = list(zip(read, meant, strict=True))
    equal = {
        name: np.array([getattr(a, name) == getattr(b, name) for a, b in pairs])
        for name in ATTRIBUTES
    }
    together = np.all([equal[name] for name in READ_ATTRIBUTES], axis=0)
    shares = {name: float(values.mean()) for name, values in equal.items()}
    return {**shares, "_".join(READ_ATTRIBUTES): float(together.mean())}


def train_reader(pictures: Pictures, work: Path, seed: int) -> tuple[SceneReader, Losses]:
    """Train a reader on pictures with a little noise and, half of the time, a little blur."""
    names = list(ATTRIBUTES)
    targets = torch.tensor(
        [[ATTRIBUTES[n].index(getattr(scene, n)) for n in names] for scene in pictures.scenes]
    )
    sizes = [len(ATTRIBUTES[name]) for name in names]
    torch.manual_seed(seed)
    network = ReaderNetwork()

    def batch_loss() -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(targets), (64,))
        pixels = pictures.batch(chosen)
        if torch.rand(()) < 0.5:
            pixels = 0.5 * pixels + 0.5 * functional.avg_pool2d(pixels, 3, 1, 1)
        scores = network(pixels + 0.1 * torch.rand(()) * torch.randn_like(pixels))
        parts = zip(scores.split(sizes, dim=1), targets[chosen].unbind(1), strict=True)
        loss = torch.stack([functional.cross_entropy(part, target) for part, target in parts]).sum()
        return loss, loss

    recipe = Recipe("reader", 1200, rate=2e-3, weight_decay=0.01, average=0.99, seed=seed)
    progress = fit(network, batch_loss, recipe, work)
    return SceneReader(network), progress.losses
