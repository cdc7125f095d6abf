"""Decoding images and cropping them as the SD3.5-Large study did."""

import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lokr_weighting.errors import LokrWeightingError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
"""What a file may really be, whatever its suffix says: some other decoders of pillow start
programs (EPS starts Ghostscript)."""
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"),
    *(".apng", ".jfif", ".jpe", ".mpo", ".dib", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""What counts as an image, in upper or lower case; of several frames the first is meant."""
MOST_PIXELS = {"WEBP": 1 << 26, "AVIF": 1 << 26, "JPEG2000": 1 << 26}
"""Of decoders that hold a picture several times over: so many keep them below 2 GB."""
BAND = 1 << 22  # pixels that are converted at a time
LARGEST_SIDE = 1 << 14  # pixels that a crop's side may have
LONGEST_RATIO = 2
"""No bucket is longer than this many times its width, or wider than so many times its height."""


class BrokenImage(ValueError):  # noqa: N818  it says what the image is, not that a call was wrong
    """An image that cannot be decoded; its message is the reason."""


def broken_by(error: Exception) -> BrokenImage:
    """What a decoder's error says of the file."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return BrokenImage(text or type(error).__name__)


def open_image(path: Path) -> Image.Image:
    """Decode an image to 8-bit RGB: the first frame, turned upright, transparency over white.

    Gray of 16 bits is scaled to 8. Gray of 32 bits has no agreed white: of whole numbers it is the
    first of 255, 65535 and the image's largest value that no pixel exceeds, of floats likewise 1
    or the largest value. Colour profiles are not applied; trainers do not apply them either.

    Returns:
        the image, in memory, its file closed.

    Raises:
        BrokenImage: the file cannot be read or is empty, cut short, damaged, of another format, or
            larger than pillow's limit against decompression bombs or than 2 GB can decode.
    """
    try:
        with Image.open(path, formats=_formats()) as image:
            most = MOST_PIXELS.get(image.format or "", image.width * image.height)
            if image.width * image.height > most:
                raise BrokenImage(
                    f"has {image.width} x {image.height} pixels; of {image.format} at most "
                    f"{most:,} are decoded"
                )
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    except UnidentifiedImageError:
        raise BrokenImage(f"is empty, or no image of {', '.join(FORMATS)}") from None
    except BrokenImage:
        raise
    # a damaged file makes pillow's decoders raise nearly anything: OSError, SyntaxError, KeyError
    except Exception as error:
        raise broken_by(error) from error


def crop_size(
    width: int,
    height: int,
    resolution: int,
    buckets: bool,
    multiple: int = 16,
    *,
    within: bool = False,
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
        within: whether no bucket may have more pixels than the square.

    Returns:
        (width, height) in pixels.

    Raises:
        LokrWeightingError: `resolution` is not a multiple of `multiple`.
    """
    if resolution > LARGEST_SIDE:
        raise LokrWeightingError(f"resolution = {resolution}: at most {LARGEST_SIDE} pixels")
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
        short = (math.floor if within else round)(resolution**2 / long / multiple) * multiple
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


@cache
def _formats() -> tuple[str, ...]:
    """Those of the formats that this pillow knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _rgb(image: Image.Image) -> Image.Image:
    """To 8-bit RGB band by band: several copies of all of it would be too much memory."""
    convert = _conversion(image)
    rgb = Image.new("RGB", image.size)
    for band in _bands(image):
        rgb.paste(convert(image.crop(band)), band)
    return rgb


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, BAND // max(1, image.width))
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """How the image's bands become RGB."""
    if image.mode.startswith("I;16"):
        return partial(_scaled, white=65535)
    if image.mode == "I":
        return partial(_scaled, white=_white(image, (255, 65535)))
    if image.mode == "F":
        return partial(_scaled, white=_white(image, (1,)))
    if image.has_transparency_data:
        return _over_white
    return lambda band: band.convert("RGB")


def _over_white(band: Image.Image) -> Image.Image:
    white = Image.new("RGBA", band.size, "white")
    white.alpha_composite(band.convert("RGBA"))
    return white.convert("RGB")


def _white(image: Image.Image, whites: tuple[int, ...]) -> float:
    """The first of these that no pixel exceeds, or the largest pixel; 0 stands in for none."""
    top = 0.0
    for band in _bands(image):
        values = np.asarray(image.crop(band), dtype=np.float64)
        top = max(top, values[np.isfinite(values)].max(initial=0))
    return next((white for white in whites if white >= top), top)


def _scaled(band: Image.Image, white: float) -> Image.Image:
    """Gray of more than 8 bits to RGB; pixels that are no number or negative are black."""
    values = np.asarray(band, dtype=np.float64)
    values = np.nan_to_num(values, nan=0, posinf=white, neginf=0)
    gray = np.rint(np.clip(values, 0, white) / white * 255).astype(np.uint8)
    return Image.fromarray(gray).convert("RGB")
