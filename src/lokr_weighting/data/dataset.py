"""A folder of images as samples of a pipeline: drawn, encoded, measured."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from lokr_weighting.calibration import Measured, Settings
from lokr_weighting.collect import measured_of
from lokr_weighting.data.folder import ImageFolder, Problem, check_problems, fingerprint
from lokr_weighting.data.images import BrokenImage, crop_size, open_image, random_crop, to_array
from lokr_weighting.data.loading import DTYPES, Offload, load_pipeline, weights_fingerprint
from lokr_weighting.data.pipelines import Encoder, PipelineForward
from lokr_weighting.draw import Sample, crop_rng, draw
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json
from lokr_weighting.probe import Probe

LATENTS_ACROSS = 128  # of a model whose configuration does not say: 1024 pixels at a factor of 8


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

    def settings(
        self, folder: Path, images: ImageFolder, bins: int, device: torch.device
    ) -> Settings:
        """What decides the records: a calibration is resumed only where all of it is the same."""
        return {
            "model": self.model,
            "weights": weights_fingerprint(folder),
            "data": fingerprint(images),
            "images": len(images.items),
            "seed": self.seed,
            "bins": bins,
            "resolution": self.resolution or _own_resolution(folder),
            "buckets": self.buckets,
            "crops": self.crops,
            "dtype": self.dtype_on(device),
            "quantization": self.quantization,
        }


class DatasetForward:
    """Measures samples of a job by their number; a context that holds the model.

    Args:
        job: the job.
        folder: the pipeline's folder.
        images: the images found.
        settings: the job's settings.
        blocks: the model's blocks.
        indices: the samples that may be asked for; their images and captions are encoded on entry.
        device: where to run.
        offload: as for `PipelineForward`.
        similarity: as for `Probe`.

    Raises:
        LokrWeightingError: the model cannot be loaded, or too many images are broken.
    """

    def __init__(
        self,
        job: Job,
        folder: Path,
        images: ImageFolder,
        settings: Settings,
        blocks: tuple[str, ...],
        indices: Iterable[int],
        device: torch.device,
        offload: Offload,
        similarity: bool = False,
    ) -> None:
        self.job, self.images, self.settings, self.blocks = job, images, settings, blocks
        self.indices = indices
        self.device = device
        self.offload: Offload = offload
        self.folder = folder
        self.similarity = similarity
        self.samples: dict[int, Sample] = {}
        self.broken: dict[int, Problem] = {}

    def __enter__(self) -> Self:
        dtype = DTYPES[self.job.dtype_on(self.device)]
        pipeline = load_pipeline(self.folder, dtype, self.job.quantization, self.device)
        encoder = Encoder(pipeline, self.device)
        captions = [len(item.captions) for item in self.images.items]
        for index in self.indices:
            self.samples[index] = self._draw_and_encode(encoder, index, captions)
        encoder.free()
        self.probe = Probe(encoder.pipeline.transformer, self.similarity)
        self.forward = PipelineForward(encoder, self.probe, self.offload)
        self.probe.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.probe.__exit__()

    def __call__(self, index: int) -> Measured:
        """Measure one sample."""
        sample = self.samples[index]
        distances = self.forward(sample, (sample.image, sample.crop), self._caption(sample))
        return measured_of(distances, self.blocks, [sample.timestep], index)[0]

    def loss(self, index: int) -> float:
        """One sample's flow-matching loss, with the same noise every time."""
        sample = self.samples[index]
        return float(self.forward.loss(sample, (sample.image, sample.crop), self._caption(sample)))

    def _caption(self, sample: Sample) -> str:
        return self.images.items[sample.image].captions[sample.caption]

    def _draw_and_encode(self, encoder: Encoder, index: int, captions: list[int]) -> Sample:
        """The sample; drawn again where its image turns out to be broken."""
        seed, bins = self.job.seed, self.settings["bins"]
        attempt = 0
        while True:
            sample = draw(seed, index, bins, captions, self.job.crops, attempt)
            if self._encode(encoder, sample.image, sample.crop):
                encoder.encode_caption(self._caption(sample))
                return sample
            attempt += 1

    def _encode(self, encoder: Encoder, image: int, crop: int) -> bool:
        """Encode a crop, once; False where the image is broken."""
        if image in self.broken:
            return False
        if (image, crop) in encoder.latents:
            return True
        item = self.images.items[image]
        try:
            opened = open_image(self.images.root / item.name)
        except BrokenImage as error:
            self.broken[image] = Problem(item.name, str(error))
            problems = [*self.images.problems, *self.broken.values()]
            check_problems(problems, len(self.images.items) + len(self.images.problems))
            return False
        size = crop_size(
            *opened.size, self.settings["resolution"], self.job.buckets, encoder.multiple
        )
        cropped = random_crop(opened, size, crop_rng(self.job.seed, image, crop))
        encoder.encode_image((image, crop), torch.from_numpy(to_array(cropped)))
        return True


def _own_resolution(folder: Path) -> int:
    """The side in pixels that the transformer was made for, by the pipeline's configuration."""
    latents = read_json(folder / "transformer" / "config.json").get("sample_size")
    vae = read_json(folder / "vae" / "config.json")
    return (latents or LATENTS_ACROSS) * 2 ** (len(vae["block_out_channels"]) - 1)
