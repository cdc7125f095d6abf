"""Drawn scenes as tensors, and sheets of them to look at."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from shapes_images import Scene, caption, draw_scene, random_scene
from torch import Tensor

from shapes.fitting import save_whole


@dataclass(frozen=True)
class Pictures:
    """Drawn scenes, their pixels (count, 3, 64, 64) as bytes."""

    pixels: Tensor
    scenes: list[Scene]

    def batch(self, chosen: Tensor | slice) -> Tensor:
        """Return some pictures' pixels in [-1, 1]."""
        return self.pixels[chosen].float() / 127.5 - 1


def draw_pictures(path: Path, count: int, seed: int, tasks: tuple[str, ...]) -> Pictures:
    """Draw scenes of the tasks in turn and keep them in ``path``, or return what lies there."""
    if not path.exists():
        rng = np.random.default_rng(seed)
        scenes = [random_scene(rng, tasks[index % len(tasks)]) for index in range(count)]
        pixels = np.stack([np.asarray(draw_scene(scene, rng)) for scene in scenes])
        save_whole(
            {
                "pixels": torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
                "scenes": [asdict(scene) for scene in scenes],
            },
            path,
        )
    stored = torch.load(path, weights_only=True)
    return Pictures(stored["pixels"], [Scene(**scene) for scene in stored["scenes"]])


def write_sheet(images: list[Image.Image], titles: list[str], path: Path) -> None:
    """Write images as one sheet, eight in a row, each below its title."""
    rows = math.ceil(len(images) / 8)
    figure, axes = plt.subplots(rows, 8, figsize=(16, 2.4 * rows), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image)
        axis.set_title(title.replace(" on a", "\non a"), fontsize=7)
    figure.savefig(path, dpi=64)
    plt.close(figure)
    with Image.open(path) as sheet:
        sheet.convert("RGB").quantize(256).save(path, optimize=True)


def write_rebuilt(pictures: Pictures, rebuilt: Tensor, path: Path) -> None:
    """Write 32 pictures, each beside what the autoencoder makes of it."""
    images, titles = [], []
    for index in range(32):
        made = ((rebuilt[index] + 1) * 127.5).round().byte()
        images += [
            Image.fromarray(p.permute(1, 2, 0).numpy()) for p in (pictures.pixels[index], made)
        ]
        titles += [caption(pictures.scenes[index]), "rebuilt"]
    write_sheet(images, titles, path)
