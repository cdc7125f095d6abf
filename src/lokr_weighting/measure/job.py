"""A job: what decides the records of a calibration on a folder of images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lokr_weighting.data.encoding import FRAMES
from lokr_weighting.data.folder import ImageFolder, find_images, fingerprint
from lokr_weighting.data.images import crop_size
from lokr_weighting.data.videos import is_video
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear, block_linears, block_names
from lokr_weighting.models.denoiser import denoiser_name
from lokr_weighting.models.experts import Expert, chosen_expert
from lokr_weighting.models.identity import pipeline_fingerprint, read_index, weights_fingerprint
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.loading import DTYPES, pipeline_folder
from lokr_weighting.models.pipeline_call import PipelineCall
from lokr_weighting.models.sizes import read_sizes
from lokr_weighting.models.table import pipeline_call
from lokr_weighting.records.summary import Settings


@dataclass(frozen=True)
class Job:
    """A calibration on a folder of images: everything that decides its records.

    Attributes:
        model: a diffusers pipeline folder or hub id.
        data: the folder of images and captions.
        seed: decides images, crops, captions, timesteps and noise.
        resolution: side of the square crops in pixels; None: what the transformer was made for.
        buckets: crop to aspect-ratio buckets of that area instead.
        crops: different crops of each image.
        dtype: "float32", "bfloat16" or "float16"; None: bfloat16 on a GPU, float32 on a CPU.
        revision: of a hub id.
        quantization: as for `load_pipeline`.
        text_tokens: tokens that a caption is padded or cut to; None: the pipeline's own number.
        captions: where captions are, as for `find_images`.
        frames: the most frames of a video that are taken, from its beginning; None: FRAMES.
        transformer: of a pipeline of two transformers the one that is meant, "transformer" or
            "transformer_2".
    """

    model: str
    data: Path
    seed: int = 0
    resolution: int | None = None
    buckets: bool = False
    crops: int = 1
    dtype: str | None = None
    revision: str | None = None
    quantization: dict[str, Any] | None = None
    text_tokens: int | None = None
    captions: str | None = None
    frames: int | None = None
    transformer: str | None = None

    @property
    def most_frames(self) -> int:
        """The most frames of a video that are taken."""
        return FRAMES if self.frames is None else self.frames

    def dtype_on(self, device: torch.device) -> str:
        """The dtype's name.

        Raises:
            LokrWeightingError: there is no such dtype.
        """
        if self.dtype is None:
            return "float32" if device.type == "cpu" else "bfloat16"
        if self.dtype not in DTYPES:
            raise LokrWeightingError(f"dtype = {self.dtype!r}: use one of {', '.join(DTYPES)}")
        return self.dtype

    def find_images(self, folder: Path | None = None) -> ImageFolder:
        """The images of a folder, by default its own, and the videos where its model takes them.

        Raises:
            LokrWeightingError: as `find_images`, or there is no such model.
        """
        pipeline = pipeline_folder(self.model, self.revision)
        call = pipeline_call(read_index(pipeline)["_class_name"])
        data = self.data if folder is None else folder
        return find_images(data, self.captions, videos=call.temporal is not None)

    def prepare(
        self, bins: int, device: torch.device, say: Callable[[str], None] = lambda _: None
    ) -> "PreparedJob":
        """Find the pipeline and the images; nothing is loaded yet.

        Args:
            bins: timestep bins that samples are drawn in.
            device: where it will run.
            say: called with what a user should know.

        Raises:
            LokrWeightingError: there is no such model or folder, too many images are broken, or the
                resolution, the dtype or the number of frames is none.
        """
        self.dtype_on(device)
        pipeline = pipeline_folder(self.model, self.revision)
        index = read_index(pipeline)
        expert = chosen_expert(index, self.transformer, self.model)
        model = denoiser_name(index) if expert is None else expert.name
        call = pipeline_call(index["_class_name"])
        if expert is not None:
            say(f"measuring {expert.said}: its timesteps are counted as 0 to 1")
        sizes = read_sizes(pipeline, model, patch=call.patch, otherwise=call.resolution)
        resolution = sizes.resolution if self.resolution is None else self.resolution
        crop_size(1, 1, resolution, self.buckets, sizes.multiple)
        self._check_frames(index["_class_name"], call)
        images = find_images(self.data, self.captions, videos=call.temporal is not None)
        images.check()
        for text in images.remarks:
            say(text)
        skeleton = load_skeleton(str(pipeline / model))
        videos = any(is_video(item.name) for item in images.items)
        # only a flow needs no schedule of the model's own
        scheduled = call.objective != "flow matching"
        return PreparedJob(
            self,
            pipeline,
            images,
            device,
            {
                "model": self.model,
                "weights": weights_fingerprint(pipeline / model),
                "pipeline": pipeline_fingerprint(pipeline, say, scheduled=scheduled),
                "data": fingerprint(images),
                "images": len(images.items),
                "seed": self.seed,
                "bins": bins,
                "resolution": resolution,
                "buckets": self.buckets,
                "crops": self.crops,
                "dtype": self.dtype_on(device),
                "quantization": self.quantization,
                "text_tokens": self.text_tokens,
                # tells samples from those of versions that counted padding that no mask marks
                **({"padding": "left out"} if call.tokenizers else {}),
                **({"frames": self.most_frames} if videos else {}),
                **({} if expert is None else _of_expert(expert)),
            },
            tuple(block_names(skeleton)),
            block_linears(skeleton),
        )

    def _check_frames(self, pipeline: str, call: PipelineCall) -> None:
        if self.frames is None:
            return
        if call.temporal is None:
            raise LokrWeightingError(
                f"frames = {self.frames}: {pipeline} is a model of images; leave --frames out"
            )
        if self.frames < 1:
            raise LokrWeightingError(f"frames = {self.frames}: at least 1 is wanted")


def _of_expert(expert: Expert) -> dict[str, Any]:
    return {"transformer": expert.name, "timesteps": [expert.low, expert.high]}


@dataclass(frozen=True)
class PreparedJob:
    """A job whose pipeline and images were found.

    Attributes:
        job: the job.
        pipeline: the pipeline's folder on this machine.
        images: the images.
        device: where it runs.
        settings: what decides its records.
        blocks: the model's blocks, in the order they run.
        linears: the Linears in them.
    """

    job: Job
    pipeline: Path
    images: ImageFolder
    device: torch.device
    settings: Settings
    blocks: tuple[str, ...]
    linears: Sequence[BlockLinear]

    @property
    def transformer(self) -> str | None:
        """Of two transformers the one that is measured; None where the pipeline has one."""
        return self.settings.get("transformer")

    def on(self, images: ImageFolder) -> "PreparedJob":
        """The same job on some of its images."""
        of_images = {"data": fingerprint(images), "images": len(images.items)}
        return replace(self, images=images, settings={**self.settings, **of_images})
