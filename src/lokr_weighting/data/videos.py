"""Decoding the first frames of videos, with PyAV."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from lokr_weighting.data.images import BrokenImage, broken_by
from lokr_weighting.errors import LokrWeightingError

SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
"""What counts as a video, in upper or lower case."""
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
"""What a file may really be: others name files and addresses of their own, which would be read."""
MOST_PIXELS = 1 << 25
"""Of a frame: 8K, a tenth of a GB in each of the decoder's frames."""
READER = "av"


def is_video(name: str) -> bool:
    """Whether a file is a video, by its name."""
    return Path(name).suffix.lower() in SUFFIXES


def check_reader(folder: Path, count: int) -> None:
    """Refuse videos where nothing reads them.

    Args:
        folder: where they are.
        count: how many there are.

    Raises:
        LokrWeightingError: PyAV is not installed.
    """
    if count and find_spec(READER) is None:
        raise LokrWeightingError(
            f"{folder}: holds {count} videos, and PyAV, which reads them, is not installed: "
            f"pip install {READER}, or take the videos out"
        )


def whole_frames(count: int, step: int) -> int:
    """The most frames of so many that a VAE takes: one, and `step` for each further latent frame.

    Args:
        count: frames, at least 1.
        step: frames in a latent frame.
    """
    return (count - 1) // step * step + 1


def first_frames(path: Path, most: int) -> Iterator[Image.Image]:
    """Decode a video's first frames, one after the other, as they are shown: RGB, upright.

    The next is decoded when it is asked for, so that no more than one is kept here. They follow
    each other as in the file, whatever its frame rate.

    Args:
        path: the video.
        most: stop after so many.

    Raises:
        BrokenImage: the file cannot be read, is empty, damaged or of another format, or its frames
            are too large or change their size.
    """
    import av
    from av.container import InputContainer

    try:
        options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
        with path.open("rb") as file, av.open(file, options=options) as container:
            assert isinstance(container, InputContainer)
            if not container.streams.video:
                raise BrokenImage("holds no video")
            stream = container.streams.video[0]
            # before anything is decoded
            _check(stream.codec_context.width, stream.codec_context.height)
            size = None
            for number, frame in enumerate(container.decode(stream)):
                _check(frame.width, frame.height)
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    raise BrokenImage(f"changes its size at frame {number}")
                turns = round(frame.rotation / 90)
                yield Image.fromarray(np.rot90(frame.to_ndarray(format="rgb24"), turns))
                if number + 1 == most:
                    return
            if size is None:
                raise BrokenImage("holds no frames")
    except BrokenImage:
        raise
    # a damaged file makes the decoders raise nearly anything
    except Exception as error:
        raise broken_by(error) from error


def _check(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise BrokenImage(f"has frames of {width} x {height}; at most {MOST_PIXELS:,} pixels")
