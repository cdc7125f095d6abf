"""Several samples at once have the losses that they have alone, with gradients."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lokr_weighting.data.encoding import Encoder, SampleEncoder
from lokr_weighting.data.folder import find_images
from lokr_weighting.measure.batched import BatchedForward, Inputs
from lokr_weighting.measure.forward import PipelineForward
from lokr_weighting.models.loading import load_pipeline
from tests.measure.alone import losses_alone
from tests.tiny_pipelines import KINDS


@pytest.mark.parametrize("buckets", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batchs_losses_are_those_of_its_samples_alone(
    kind: str, buckets: bool, pipelines: Callable[[str], Path], images: Path
) -> None:
    pipeline = load_pipeline(pipelines(kind), torch.float32)
    encoder = Encoder(pipeline, torch.device("cpu"), text_tokens=16)
    source = SampleEncoder(encoder, find_images(images), 64, buckets=buckets)
    samples = [source.draw(0, index, 10) for index in range(6)]
    alone = PipelineForward(encoder)
    expected = losses_alone(alone, source, samples)
    forward = BatchedForward(pipeline, torch.device("cpu"))
    batch = [
        Inputs(
            each,
            encoder.latents[each.image, each.crop],
            encoder.embeddings[source.caption_of(each)],
        )
        for each in samples
    ]
    losses = forward.losses(batch)
    assert losses.tolist() == pytest.approx(expected, rel=1e-4)
    losses.mean().backward()
    gradients = [each.grad for each in pipeline.transformer.parameters() if each.grad is not None]
    assert len(gradients) > 50
    assert all(torch.isfinite(each).all() for each in gradients)
    assert not pipeline.transformer._forward_hooks
    assert not pipeline.transformer._forward_pre_hooks
