"""The loss of each sample, run alone: what batches are held against."""

from collections.abc import Sequence

from lokr_weighting.data.encoding import SampleEncoder
from lokr_weighting.data.samples import Sample
from lokr_weighting.measure.forward import PipelineForward


def losses_alone(
    forward: PipelineForward, source: SampleEncoder, samples: Sequence[Sample]
) -> list[float]:
    return [
        float(forward.loss(each, (each.image, each.crop), source.caption_of(each)))
        for each in samples
    ]
