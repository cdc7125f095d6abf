"""Further pipelines: their models are called with what is intended, alone and in batches."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lokr_weighting import calibrate_folder
from lokr_weighting.data.encoding import Encoder, SampleEncoder
from lokr_weighting.data.folder import find_images
from lokr_weighting.data.samples import draw
from lokr_weighting.measure.batched import BatchedForward, inputs_of
from lokr_weighting.measure.forward import PipelineForward
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import load_pipeline
from tests.inputs import job, records_in
from tests.measure.alone import losses_alone
from tests.pipelines.build import FURTHER, WHOLE
from tests.pipelines.intended import INTENDED

CPU = torch.device("cpu")
BY_LENGTH = ("kandinsky5", "kandinsky5-video")
"""Captions keep their lengths, and the model takes no mask."""


def watched(model: torch.nn.Module, calls: list[tuple[Any, Any, Any]]) -> Any:
    """Keeps each call's latents and timestep, and the output, of a model."""

    def leave(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        call = inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments
        names = ("hidden_states", "sample", "x")
        latents = next(call[name] for name in names if name in call)
        both = [
            torch.stack(each) if isinstance(each, list) else each for each in (latents, output[0])
        ]
        times = next(call[name] for name in ("timestep", "timesteps", "t") if name in call)
        calls.append((both[0], times, both[1]))

    return model.register_forward_hook(leave, with_kwargs=True)


@pytest.mark.parametrize("kind", FURTHER)
@torch.no_grad()
def test_the_model_gets_the_noised_latents_and_the_timestep_of_its_own_objective(
    kind: str, pipelines: Callable[[str], Path]
) -> None:
    pipeline = load_pipeline(pipelines(kind), torch.float32)
    intended, encoder = INTENDED[kind], Encoder(pipeline, CPU)
    pixels = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoder.encode_image("image", pixels)
    encoder.encode_caption("a seven")
    clean = intended.clean(pipeline, pixels[None])
    scheduler = pipeline.scheduler
    # nothing but the model is needed from here on
    encoder.free()
    forward, calls = PipelineForward(encoder), []
    handle = watched(denoiser(pipeline), calls)
    for index in range(3):
        sample = draw(0, index, 10, [1])
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(sample.noise_seed))
        loss = forward.loss(sample, "image", "a seven")
        latents, timestep, output = calls.pop()
        assert not calls
        noised = intended.noised(clean, noise, sample.timestep)
        torch.testing.assert_close(latents, intended.handed(noised), rtol=1e-5, atol=1e-5)
        expected = torch.full_like(timestep, intended.timestep(sample.timestep))
        torch.testing.assert_close(timestep, expected)
        shaped = intended.shaped or intended.handed
        target = shaped(intended.target(clean, noise, sample.timestep))
        missed = intended.predicted(output) - target
        assert float(loss) == pytest.approx(float(missed.square().mean()), rel=1e-4)
    handle.remove()
    assert pipeline.scheduler is scheduler


@pytest.mark.parametrize("kind", FURTHER)
def test_several_samples_at_once_have_the_losses_that_they_have_alone(
    kind: str, pipelines: Callable[[str], Path], images: Path
) -> None:
    pipeline = load_pipeline(pipelines(kind), torch.float32)
    encoder = Encoder(pipeline, CPU)
    source = SampleEncoder(encoder, find_images(images), 64)
    samples = [source.draw(0, index, 10) for index in range(5)]
    encoder.free()
    alone, calls = PipelineForward(encoder), []
    expected = losses_alone(alone, source, samples)
    handle = watched(denoiser(pipeline), calls)
    losses = BatchedForward(pipeline, CPU).losses([inputs_of(source, each) for each in samples])
    handle.remove()
    if kind in BY_LENGTH:
        assert 1 < len(calls) < len(samples), "captions of one length are a batch"
    else:
        assert len(calls) == 1, "captions of other lengths are one batch too"
    assert losses.tolist() == pytest.approx(expected, rel=1e-4)
    losses.mean().backward()
    gradients = [each.grad for each in denoiser(pipeline).parameters() if each.grad is not None]
    assert len(gradients) > 30
    assert all(torch.isfinite(each).all() for each in gradients)
    assert not denoiser(pipeline)._forward_pre_hooks


@pytest.mark.parametrize("kind", WHOLE)
def test_a_resumed_calibration_is_the_uninterrupted_one_byte_for_byte(
    kind: str, pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    prepared = job(pipelines(kind), images, buckets=True)
    for name, steps in (("whole", (24,)), ("resumed", (20, 24))):
        for samples in steps:
            calibrate_folder(prepared, tmp_path / name, stop=Stop(samples=samples))
    assert records_in(tmp_path / "resumed") == records_in(tmp_path / "whole")
