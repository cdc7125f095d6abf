"""Running a job's samples: drawn, encoded, and run by their numbers."""

from collections.abc import Iterable
from typing import Any

import torch

from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.folder import Problem
from lokr_weighting.data.images import BrokenImage, crop_size, open_image, random_crop, to_array
from lokr_weighting.data.samples import Sample, crop_rng, draw
from lokr_weighting.measure.distances import measured_of
from lokr_weighting.measure.forward import PipelineForward
from lokr_weighting.measure.job import PreparedJob
from lokr_weighting.measure.probe import Probe
from lokr_weighting.models.loading import DTYPES, Offload, load_pipeline
from lokr_weighting.records.record import Measured


class JobRunner:
    """A job's model, and its samples encoded.

    Args:
        prepared: the job.
        indices: the samples that may be asked for, by their numbers.
        offload: as for `PipelineForward`.

    Attributes:
        samples: the samples, by their numbers.
        broken: images that turned out to be broken -> the problem.
        transformer: the model.

    Raises:
        LokrWeightingError: the model cannot be loaded, or too many images are broken.
    """

    def __init__(
        self, prepared: PreparedJob, indices: Iterable[int], *, offload: Offload = "none"
    ) -> None:
        self.prepared = prepared
        self.broken: dict[int, Problem] = {}
        job, images = prepared.job, prepared.images
        dtype = DTYPES[job.dtype_on(prepared.device)]
        pipeline = load_pipeline(prepared.pipeline, dtype, job.quantization, prepared.device)
        encoder = Encoder(pipeline, prepared.device)
        captions = [len(item.captions) for item in images.items]
        self.samples = {index: self._draw_and_encode(encoder, index, captions) for index in indices}
        encoder.free()
        self.transformer: torch.nn.Module = pipeline.transformer
        self._forward = PipelineForward(encoder, offload)

    def measure(self, index: int, probe: Probe) -> Measured:
        """Measure one sample with a probe on the transformer, entered."""
        sample = self.samples[index]
        distances = self._forward.distances(probe, *self._inputs(sample))
        return measured_of(distances, self.prepared.blocks, [sample.timestep], index)[0]

    def loss(self, index: int) -> float:
        """One sample's flow-matching loss, with the same noise every time."""
        return float(self._forward.loss(*self._inputs(self.samples[index])))

    def _inputs(self, sample: Sample) -> tuple[Sample, Any, str]:
        return sample, (sample.image, sample.crop), self._caption(sample)

    def _caption(self, sample: Sample) -> str:
        return self.prepared.images.items[sample.image].captions[sample.caption]

    def _draw_and_encode(self, encoder: Encoder, index: int, captions: list[int]) -> Sample:
        """The sample; drawn again where its image turns out to be broken."""
        job, bins = self.prepared.job, self.prepared.settings["bins"]
        attempt = 0
        while True:
            sample = draw(job.seed, index, bins, captions, crops=job.crops, attempt=attempt)
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
        job, images = self.prepared.job, self.prepared.images
        item = images.items[image]
        try:
            opened = open_image(images.root / item.name)
        except BrokenImage as error:
            self.broken[image] = Problem(item.name, str(error))
            images.check(self.broken.values())
            return False
        size = crop_size(
            *opened.size, self.prepared.settings["resolution"], job.buckets, encoder.multiple
        )
        cropped = random_crop(opened, size, crop_rng(job.seed, image, crop))
        encoder.encode_image((image, crop), torch.from_numpy(to_array(cropped)))
        return True
