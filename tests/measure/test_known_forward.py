"""Batches of latents and embeddings are run as the model's own pipeline runs them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError, Probe, Stop, calibrate
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.samples import noise_seed, stratified_timestep
from lokr_weighting.measure.known_forward import KnownForward
from lokr_weighting.measure.objectives import FlowMatching
from lokr_weighting.measure.one_step import OneStepCall
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import load_pipeline
from lokr_weighting.models.table import model_calls
from tests.tiny_models import model_and_inputs

KINDS = ("sd3", "sd3.5-medium", "flux", "auraflow", "qwen-image", "sana", "lumina2")
CPU = torch.device("cpu")


def encoded(folder: Path) -> tuple[Any, dict[str, Tensor], Any]:
    """A pipeline, a batch of one as a training loop keeps it, and what the pipeline takes."""
    pipeline = load_pipeline(folder, torch.float32)
    encoder = Encoder(pipeline, CPU)
    pixels = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    encoder.encode_image("image", pixels)
    encoder.encode_caption("a seven")
    embeddings = encoder.embeddings["a seven"]
    batch = {"latents": encoder.latents["image"], **embeddings}
    if "a seven" in encoder.real:
        batch["text_mask"] = encoder.real["a seven"]
    encoder.free()
    return pipeline, batch, embeddings


@pytest.mark.parametrize("kind", KINDS)
def test_the_distances_are_those_of_the_pipelines_own_call(
    kind: str, pipelines: Callable[[str], Path]
) -> None:
    pipeline, batch, embeddings = encoded(pipelines(kind))
    model = denoiser(pipeline)
    assert type(model).__name__ in model_calls()
    found = calibrate(model, [batch], stop=Stop(samples=20), bar=False)
    call = OneStepCall(pipeline, Encoder(pipeline, CPU).call)
    clean = batch["latents"]
    with Probe(model) as probe, torch.no_grad():
        for number, record in enumerate(found.records[:3]):
            share = stratified_timestep(0, number, 10)
            assert record.timestep == share
            seed = torch.Generator().manual_seed(noise_seed(0, number))
            noised = FlowMatching().noised(clean, torch.randn(clean.shape, generator=seed), share)
            timesteps = FlowMatching().timesteps(torch.tensor([share]))
            own = probe.measure(
                lambda noised=noised, timesteps=timesteps: call(noised, timesteps, embeddings),
                samples=[number],
                text_mask=batch.get("text_mask"),
            )
            image = np.array(record.hidden_states, dtype=float)
            np.testing.assert_allclose(image, own.image[0], atol=1e-6)
            text = np.array(record.encoder_hidden_states, dtype=float)
            np.testing.assert_allclose(text, own.text[0][: len(text)], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sd3", "flux", "auraflow", "qwen-image", "sana", "lumina2"])
def test_it_runs_in_half_precision_with_batches_in_single(
    kind: str, pipelines: Callable[[str], Path]
) -> None:
    pipeline, batch, _ = encoded(pipelines(kind))
    model = denoiser(pipeline)
    single = calibrate(model, [batch], stop=Stop(samples=20)).heatmaps()
    half = calibrate(model.to(torch.bfloat16), [batch], stop=Stop(samples=20)).heatmaps()
    np.testing.assert_allclose(half.image.mean(axis=0), single.image.mean(axis=0), atol=0.01)


def test_it_is_the_same_every_time_and_the_noise_is_the_seeds(
    pipelines: Callable[[str], Path],
) -> None:
    pipeline, batch, _ = encoded(pipelines("sd3"))
    model = denoiser(pipeline)
    two = {name: torch.cat([each, each]) for name, each in batch.items()}
    two = {"caption": ["a seven"] * 2, **two}
    lines = [
        [each.line for each in calibrate(model, data, seed=seed, stop=Stop(samples=20)).records]
        for data, seed in (([two], 0), ([two], 0), ([two], 1))
    ]
    assert lines[0] == lines[1] != lines[2]


def sd3() -> nn.Module:
    return model_and_inputs("sd3")[0]


def test_padding_is_left_out_where_a_batch_marks_it() -> None:
    model, inputs = model_and_inputs("sd3")
    batch = {
        "latents": inputs["hidden_states"],
        "prompt_embeds": inputs["encoder_hidden_states"],
        "pooled_prompt_embeds": inputs["pooled_projections"],
    }
    mask = torch.zeros(batch["prompt_embeds"].shape[:2], dtype=torch.long)
    mask[:, :3] = 1
    whole = calibrate(model, [batch], stop=Stop(samples=20)).heatmaps()
    real = calibrate(model, [{**batch, "prompt_attention_mask": mask}], stop=Stop(samples=20))
    np.testing.assert_array_equal(real.heatmaps().image, whole.image)
    assert np.nanmax(np.abs(real.heatmaps().text - whole.text)) > 1e-4


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([1, 2], "a batch is a list; without a forward of your own a dictionary with latents"),
        ({"pixels": torch.zeros(1)}, r"a batch has no latents \(called latents\); it has pixels"),
        (
            {"latents": torch.zeros(1, 16, 8, 8), "caption": ["a"]},
            r"no encoder_hidden_states \(called prompt_embeds or encoder_hidden_states\); it has",
        ),
        ({"latents": torch.zeros(1, 16, 1, 8, 8)}, r"latents have the shape \[1, 16, 1, 8, 8\]"),
    ],
)
def test_a_batch_that_lacks_something_is_refused_by_name(batch: Any, message: str) -> None:
    with pytest.raises(LokrWeightingError, match=message):
        calibrate(sd3(), [batch], stop=Stop(samples=20))


def test_a_model_that_is_not_known_wants_a_forward() -> None:
    with pytest.raises(LokrWeightingError, match=r"Linear: how it is run on a batch is known for"):
        KnownForward(nn.Linear(1, 1))


def test_an_editing_model_wants_a_forward(pipelines: Callable[[str], Path]) -> None:
    pipeline = load_pipeline(pipelines("qwen-image"), torch.float32)
    pipeline.transformer.register_to_config(zero_cond_t=True)
    with pytest.raises(LokrWeightingError, match="zero_cond_t is set in its configuration: it is"):
        KnownForward(pipeline.transformer)
