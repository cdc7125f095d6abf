"""Images and captions as a pipeline's latents and embeddings, each encoded once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lokr_weighting.data.captions import Embedding, encoded
from lokr_weighting.data.folder import ImageFolder, Problem
from lokr_weighting.data.images import BrokenImage, crop_size, open_image, random_crop, to_array
from lokr_weighting.data.latents import LATENTS
from lokr_weighting.data.samples import Sample, crop_rng, draw
from lokr_weighting.data.videos import first_frames, is_video, whole_frames
from lokr_weighting.models.pipeline_call import PipelineCall, named
from lokr_weighting.models.table import pipeline_call

FRAMES = 25  # of a video: what VAEs of 4 and of 8 frames a latent both take


@dataclass
class Encoder:
    """Turns crops and captions into latents and embeddings, each once, kept on the CPU.

    Attributes:
        pipeline: the pipeline; its VAE and text encoders are used.
        device: where they run.
        text_tokens: how many tokens a caption is padded or cut to; None: the pipeline's own.
        latents: what was encoded, by a key of the caller's.
        embeddings: the call's arguments for each caption.
        real: which tokens of each caption are no padding, (1, tokens), where that is known.
    """

    pipeline: Any
    device: torch.device
    text_tokens: int | None = None
    latents: dict[Any, Tensor] = field(default_factory=dict)
    embeddings: dict[str, dict[str, Embedding]] = field(default_factory=dict)
    real: dict[str, Tensor] = field(default_factory=dict)

    @property
    def call(self) -> PipelineCall:
        """How the pipeline is called."""
        return pipeline_call(type(self.pipeline).__name__)

    @property
    def multiple(self) -> int:
        """What an image's sides must be multiples of, in pixels."""
        return self.call.patch * getattr(self.pipeline, self.call.scale)

    @property
    def step(self) -> int:
        """How many frames of a video are one of its latents', after the first."""
        return getattr(self.pipeline, self.call.temporal) if self.call.temporal else 1

    @torch.no_grad()
    def encode_image(self, key: Any, pixels: Tensor) -> None:
        """Encode an image or a video to the mode of its latents.

        Args:
            key: what they are kept under.
            pixels: (3, height, width) or (3, frames, height, width) in [-1, 1].
        """
        vae = self.pipeline.vae.to(self.device)
        latents_of = named(LATENTS, "latents", self.call.latents)
        given = pixels[None].to(self.device, vae.dtype)
        self.latents[key] = latents_of(self.pipeline, given).cpu()

    @torch.no_grad()
    def encode_caption(self, caption: str) -> None:
        """Encode a caption, once.

        Raises:
            LokrWeightingError: the pipeline's text cannot be given another length.
        """
        if caption in self.embeddings:
            return
        for name, component in self.pipeline.components.items():
            if name.startswith("text_encoder") and component is not None:
                component.to(self.device)
        embeddings, real = encoded(self.pipeline, self.call, caption, self.device, self.text_tokens)
        self.embeddings[caption] = embeddings
        if real is not None:
            self.real[caption] = real

    def free(self) -> None:
        """Let go of the VAE, the text encoders and their memory."""
        for name, component in self.pipeline.components.items():
            if name == "vae" or name.startswith("text_encoder"):
                if component is not None and not getattr(component, "is_quantized", False):
                    component.to("cpu")
                setattr(self.pipeline, name, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


@dataclass
class SampleEncoder:
    """Draws samples of a folder, and encodes their crops and captions, each once.

    Attributes:
        encoder: encodes them; a crop's key is (image, crop).
        images: the images.
        resolution: side of a square crop in pixels.
        buckets: crop to aspect-ratio buckets of that area instead.
        crops: different crops of each image.
        frames: the most frames of a video that are taken, from its beginning.
        broken: images that turned out to be broken -> the problem.
    """

    encoder: Encoder
    images: ImageFolder
    resolution: int
    buckets: bool = False
    crops: int = 1
    frames: int = FRAMES
    broken: dict[int, Problem] = field(default_factory=dict)

    def draw(self, seed: int, index: int, bins: int) -> Sample:
        """A sample, encoded; drawn again where its image turns out to be broken.

        Args:
            seed: decides it, and where crops lie.
            index: its number.
            bins: timestep bins that samples are drawn in.

        Raises:
            LokrWeightingError: too many images are broken.
        """
        captions = [len(item.captions) for item in self.images.items]
        attempt = 0
        while True:
            sample = draw(seed, index, bins, captions, crops=self.crops, attempt=attempt)
            if self.encode(sample.image, sample.crop, seed):
                self.encoder.encode_caption(self.caption_of(sample))
                return sample
            attempt += 1

    def caption_of(self, sample: Sample) -> str:
        """A sample's caption."""
        return self.images.items[sample.image].captions[sample.caption]

    def encode(self, image: int, crop: int = 0, seed: int = 0) -> bool:
        """Encode a crop; False where the image is broken.

        Args:
            image: the image's number.
            crop: the crop's.
            seed: decides where it lies.

        Raises:
            LokrWeightingError: too many images are broken.
        """
        if image in self.broken:
            return False
        if (image, crop) in self.encoder.latents:
            return True
        item = self.images.items[image]
        try:
            pixels = self._pixels(item.name, partial(crop_rng, seed, image, crop))
        except BrokenImage as error:
            self.broken[image] = Problem(item.name, str(error))
            self.images.check(self.broken.values())
            return False
        self.encoder.encode_image((image, crop), torch.from_numpy(pixels))
        return True

    def _pixels(self, name: str, rng: Callable[[], np.random.Generator]) -> np.ndarray:
        """A crop of an image, or the same crop of each of a video's frames, in [-1, 1]."""
        path = self.images.root / name
        if not is_video(name):
            return self._cropped(open_image(path), rng())
        # cropped one by one: all frames at their own size would be too much memory
        frames = [self._cropped(frame, rng()) for frame in first_frames(path, self.frames)]
        return np.stack(frames[: whole_frames(len(frames), self.encoder.step)], axis=1)

    def _cropped(self, opened: Image.Image, rng: np.random.Generator) -> np.ndarray:
        call, multiple = self.encoder.call, self.encoder.multiple
        size = crop_size(*opened.size, self.resolution, self.buckets, multiple, within=call.within)
        return to_array(random_crop(opened, size, rng))
