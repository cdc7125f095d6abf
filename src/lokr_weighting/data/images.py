"""Decoding images and cropping them as the SD3.5-Large study did."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lokr_weighting.errors import LokrWeightingError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""What a file may really be, whatever its suffix says: some other decoders of pillow start
programs (EPS starts Ghostscript)."""
LONGEST_RATIO = 2
"""No bucket is longer than this many times its width, or wider than so many times its height."""


class BrokenImage(ValueError):  # noqa: N818  it says what the image is, not that a call was wrong
    """An image that cannot be decoded; its message is the reason."""


def open_image(path: Path) -> Image.Image:
    """Decode an image to 8-bit RGB: the first frame, turned upright, transparency over white.

    Gray of 16 bits is scaled to 8. Gray of 32 bits has no agreed white: of whole numbers it is the
    first of 255, 65535 and the image's largest value that no pixel exceeds, of floats likewise 1
    or the largest value. Colour profiles are not applied; trainers do not apply them either.

    Returns:
        the image, in memory, its file closed.

    Raises:
        BrokenImage: the file cannot be read or is empty, cut short, damaged, of another format, or
            larger than pillow's limit against decompression bombs.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    except UnidentifiedImageError:
        raise BrokenImage(f"is empty, or no image of {', '.join(FORMATS)}") from None
    # a damaged file makes pillow's decoders raise nearly anything: OSError, SyntaxError, KeyError
    except Exception as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise BrokenImage(text or type(error).__name__) from error


def crop_size(
    width: int, height: int, resolution: int, buckets: bool, multiple: int = 16
) -> tuple[int, int]:
    """The size to crop an image to: a square, or the bucket nearest to its aspect ratio.

    A bucket has an area of about `resolution` squared and sides that are multiples of `multiple`,
    the longer at most twice the shorter.

    Args:
        width: the image's, in pixels.
        height: the image's, in pixels.
        resolution: the side of the square, in pixels.
        buckets: whether to use buckets.
        multiple: what the model needs every side to be a multiple of, in pixels.

    Returns:
        (width, height) in pixels.

    Raises:
        LokrWeightingError: `resolution` is not a multiple of `multiple`.
    """
    if resolution < multiple or resolution % multiple:
        below = max(resolution // multiple, 1) * multiple
        raise LokrWeightingError(
            f"resolution = {resolution}: must be a multiple of {multiple} pixels, "
            f"for example {below} or {below + multiple}"
        )
    best = resolution, resolution
    if not buckets:
        return best
    ratio = max(width, height) / min(width, height)
    for long in range(resolution, LONGEST_RATIO * resolution, multiple):
        short = round(resolution**2 / long / multiple) * multiple
        if long > LONGEST_RATIO * short:
            break
        if abs(math.log(long / short / ratio)) < abs(math.log(best[0] / best[1] / ratio)):
            best = (long, short)
    return best if width >= height else (best[1], best[0])


def random_crop(image: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Resize `image` until the crop just fits, then crop it at a random place.

    Args:
        image: RGB; a smaller one is enlarged.
        size: (width, height) of the crop, in pixels.
        rng: decides the place; the same state gives the same crop.
    """
    width, height = size
    # whole pixels of the resized image, one side of which is the crop's
    resized_width = max(width, round(image.width * height / image.height))
    resized_height = max(height, round(image.height * width / image.width))
    left = int(rng.integers(resized_width - width + 1))
    top = int(rng.integers(resized_height - height + 1))
    # only the crop is computed: all of a 1 x 10000 image resized to width 1024 would need 30 GB
    box = (
        left * image.width / resized_width,
        top * image.height / resized_height,
        (left + width) * image.width / resized_width,
        (top + height) * image.height / resized_height,
    )
    return image.resize(size, Image.Resampling.LANCZOS, box=box)


def to_array(image: Image.Image) -> np.ndarray:
    """An RGB image as float32, (3, height, width), each in [-1, 1]."""
    values = np.asarray(image, dtype=np.float32) / 127.5 - 1
    return np.ascontiguousarray(values.transpose(2, 0, 1))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _scaled(image, (65535,))
    if image.mode == "I":
        return _scaled(image, (255, 65535))
    if image.mode == "F":
        return _scaled(image, (1,))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image.convert("RGBA"))
        return white.convert("RGB")
    return image.convert("RGB")


def _scaled(image: Image.Image, whites: tuple[int, ...]) -> Image.Image:
    """Gray of more than 8 bits to RGB; pixels that are no number or negative are black."""
    values = np.asarray(image, dtype=np.float64)
    top = values[np.isfinite(values)].max(initial=0)
    values = np.nan_to_num(values, nan=0, posinf=top, neginf=0)
    white = next((white for white in whites if white >= top), top)
    gray = np.rint(np.maximum(values, 0) / white * 255).astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")
