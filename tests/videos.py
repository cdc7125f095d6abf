"""Small videos: what each frame shows is known."""

from pathlib import Path

import av
import numpy as np


def shown(number: int, width: int, height: int) -> np.ndarray:
    """One frame, (height, width, 3): white in a corner, gray in a stripe that grows downwards."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = 255
    pixels[: 8 * (number + 1), -16:] = 128
    return pixels


def video(path: Path, frames: int, width: int = 96, height: int = 64, turned: int = 0) -> Path:
    """Save a video without loss of its frames, or nearly; `turned` degrees to the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1" if path.suffix == ".mkv" else "mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(shown(number, width, height), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
