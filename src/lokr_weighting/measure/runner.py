"""Running a job's samples: drawn, encoded, and run by their numbers."""

from collections.abc import Iterable
from typing import Any

import torch

from lokr_weighting.data.encoding import Encoder, SampleEncoder
from lokr_weighting.data.folder import Problem
from lokr_weighting.data.samples import Sample
from lokr_weighting.measure.distances import measured_of
from lokr_weighting.measure.forward import PipelineForward
from lokr_weighting.measure.job import PreparedJob
from lokr_weighting.measure.objectives import objective_of
from lokr_weighting.measure.probe import Probe
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import DTYPES, Offload, load_pipeline
from lokr_weighting.records.record import Measured


def drawn(prepared: PreparedJob, indices: Iterable[int]) -> tuple[SampleEncoder, dict[int, Sample]]:
    """A job's pipeline, loaded, and its samples by their numbers, encoded.

    The encoders are let go of; the transformer is where it was loaded.

    Raises:
        LokrWeightingError: the model cannot be loaded, or too many images are broken.
    """
    job = prepared.job
    dtype = DTYPES[job.dtype_on(prepared.device)]
    pipeline = load_pipeline(
        prepared.pipeline, dtype, job.quantization, prepared.device, prepared.transformer
    )
    # not after an hour of encoding
    objective_of(pipeline)
    source = SampleEncoder(
        Encoder(pipeline, prepared.device, job.text_tokens),
        prepared.images,
        prepared.settings["resolution"],
        buckets=job.buckets,
        crops=job.crops,
        frames=job.most_frames,
    )
    bins = prepared.settings["bins"]
    samples = {index: source.draw(job.seed, index, bins) for index in indices}
    source.encoder.free()
    return source, samples


class JobRunner:
    """A job's model, and its samples encoded.

    Args:
        prepared: the job.
        indices: the samples that may be asked for, by their numbers.
        offload: as for `PipelineForward`.

    Attributes:
        samples: the samples, by their numbers.
        transformer: the model.

    Raises:
        LokrWeightingError: the model cannot be loaded, or too many images are broken.
    """

    def __init__(
        self, prepared: PreparedJob, indices: Iterable[int], *, offload: Offload = "none"
    ) -> None:
        self.prepared = prepared
        self._encoder, self.samples = drawn(prepared, indices)
        encoder = self._encoder.encoder
        self.transformer: torch.nn.Module = denoiser(encoder.pipeline)
        self._forward = PipelineForward(encoder, offload)

    @property
    def broken(self) -> dict[int, Problem]:
        """Images that turned out to be broken -> the problem."""
        return self._encoder.broken

    def measure(self, index: int, probe: Probe) -> Measured:
        """Measure one sample with a probe on the transformer, entered."""
        sample = self.samples[index]
        distances = self._forward.distances(probe, *self._inputs(sample))
        return measured_of(distances, self.prepared.blocks, [sample.timestep], index)[0]

    def loss(self, index: int) -> float:
        """One sample's loss, with the same noise every time."""
        return float(self._forward.loss(*self._inputs(self.samples[index])))

    def _inputs(self, sample: Sample) -> tuple[Sample, Any, str]:
        return sample, (sample.image, sample.crop), self._encoder.caption_of(sample)
