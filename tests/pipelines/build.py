"""Further pipelines saved to folders, by name."""

from collections.abc import Callable
from pathlib import Path

from diffusers import DiffusionPipeline

from tests.pipelines import (
    chroma,
    cogview4,
    flux2,
    hidream,
    kandinsky5,
    lumina2,
    pixart,
    qwen_image,
    sana,
    sdxl,
    videos,
    wan,
    z_image,
)
from tests.pipelines.parts import drawn
from tests.tiny_pipelines import saved

TWO: dict[str, Callable[[], DiffusionPipeline]] = {"wan2.2-14b": wan.wan22_14b}
"""Of two transformers."""
FURTHER: dict[str, Callable[[], DiffusionPipeline]] = {
    "qwen-image": qwen_image.qwen_image,
    "flux.2": flux2.flux2,
    "flux.2-klein": flux2.klein,
    "chroma": chroma.chroma,
    "wan2.1": wan.wan,
    "wan2.2-5b": wan.wan22_5b,
    "pixart-sigma": pixart.sigma,
    "pixart-alpha": pixart.alpha,
    "sana": sana.sana,
    "sdxl": sdxl.sdxl,
    "sdxl-v": sdxl.sdxl_v,
    "sd1.5": sdxl.sd15,
    "z-image": z_image.z_image,
    "lumina2": lumina2.lumina2,
    "ltx": videos.ltx,
    "hunyuan-video": videos.hunyuan_video,
    "cogview4": cogview4.cogview4,
    "hidream": hidream.hidream,
    "kandinsky5": kandinsky5.image,
    "kandinsky5-video": kandinsky5.video,
}
WHOLE = tuple(
    kind
    for kind in FURTHER
    if kind not in ("wan2.2-5b", "pixart-alpha", "sdxl-v", "sd1.5", "kandinsky5-video")
)
"""Those that whole jobs are run on: the others differ from one of them in one point."""


def build(kind: str, folder: Path, seed: int = 0) -> Path:
    """Save a random pipeline of this kind; the same seed gives the same weights."""
    return saved({**FURTHER, **TWO}[kind], drawn, folder, seed)
