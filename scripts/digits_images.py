"""Write a folder of captioned images of handwritten digits.

The images are scikit-learn's 8x8 digits, enlarged smoothly to 64x64 RGB, white on black. Beside
each ``digit_0000.png`` lies a ``digit_0000.txt`` with its caption in words, for example "a
handwritten three". This is the layout that image trainers such as SimpleTuner read.

    python scripts/digits_images.py FOLDER --count 200 --seed 0
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

IMAGE_SIZE = 64
DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def caption(digit: int) -> str:
    """Return the caption of a digit in words."""
    return f"a handwritten {DIGIT_WORDS[digit]}"


def enlarge(pixels: np.ndarray) -> Image.Image:
    """Turn 8x8 values from 0 to 16 into a smooth 64x64 RGB image."""
    grey = Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8))
    return grey.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC).convert("RGB")


def digit_images() -> tuple[list[Image.Image], np.ndarray]:
    """Return all 1797 enlarged images and the digit that each one shows."""
    data = load_digits()
    return [enlarge(pixels) for pixels in data.images], data.target


class DigitReader:
    """Reads which digit an image shows, with a support vector machine on 8x8 pixels."""

    def __init__(self, images: list[Image.Image], labels: np.ndarray) -> None:
        """Learn from all images, after measuring on five held-out fifths how well that works."""
        machine = SVC(gamma=0.001)
        pixels = self._pixels(images)
        self.held_out_accuracy = float(cross_val_score(machine, pixels, labels).mean())
        self._machine = machine.fit(pixels, labels)

    def read(self, images: list[Image.Image]) -> np.ndarray:
        """Return the digit that each image seems to show."""
        return self._machine.predict(self._pixels(images))

    @staticmethod
    def _pixels(images: list[Image.Image]) -> np.ndarray:
        """Shrink images to rows of 64 values from 0 to 16, like scikit-learn's digits."""
        shrunk = [image.convert("L").resize((8, 8), Image.Resampling.BOX) for image in images]
        return np.stack([np.asarray(image).ravel() for image in shrunk]) * (16 / 255)


def choose_evenly(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the indices of ``count`` items, taken in turn from each class.

    The order within a class is shuffled with ``seed``. A class that runs out is passed over, so any
    count up to the number of labels can be met.
    """
    if not 1 <= count <= len(labels):
        raise ValueError(f"count must be between 1 and {len(labels)}, not {count}")
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), dtype=int)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        turn[members] = np.arange(len(members))
    return np.lexsort((labels, turn))[:count]


def write_folder(folder: Path, count: int, seed: int, invert: bool = False) -> None:
    """Write ``count`` images and captions into ``folder``, each file in one step.

    With ``invert``, black on white instead of white on black.

    Names depend only on the position, so a second run writes over the first.
    """
    images, labels = digit_images()
    chosen = choose_evenly(labels, count, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for position, index in enumerate(chosen):
        target = folder / f"digit_{position:04d}"
        unfinished = folder / f".{target.name}.part"
        unfinished.write_text(caption(labels[index]), encoding="utf-8")
        unfinished.replace(target.with_suffix(".txt"))
        image = ImageOps.invert(images[index]) if invert else images[index]
        image.save(unfinished, format="PNG")
        unfinished.replace(target.with_suffix(".png"))


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description="Write captioned images of handwritten digits.")
    parser.add_argument("folder", type=Path, help="where to write; made when missing")
    parser.add_argument("--count", type=int, default=200, help="number of images (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="which images are chosen (default 0)")
    parser.add_argument("--invert", action="store_true", help="black on white")
    arguments = parser.parse_args()
    try:
        write_folder(arguments.folder, arguments.count, arguments.seed, arguments.invert)
    except ValueError as error:
        parser.error(str(error))
    print(f"{arguments.count} images with captions in {arguments.folder}")


if __name__ == "__main__":
    main()
