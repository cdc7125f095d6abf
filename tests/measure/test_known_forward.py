"""Batches of latents and embeddings are run as the model's own pipeline runs them."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, Flux2Pipeline, PixArtTransformer2DModel
from torch import Tensor, nn

from lokr_weighting import Calibration, LokrWeightingError, Probe, Stop, calibrate
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.samples import noise_seed, stratified_timestep
from lokr_weighting.measure.known_arguments import PACKED
from lokr_weighting.measure.known_forward import FLOW, KnownForward
from lokr_weighting.measure.objectives import objective_of
from lokr_weighting.measure.one_step import OneStepCall
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import load_pipeline
from lokr_weighting.models.table import family_files, model_calls
from tests.pipelines.parts import drawn
from tests.tiny_models import model_and_inputs

KINDS = (
    *("sd3", "sd3.5-medium", "flux", "auraflow", "qwen-image", "sana", "lumina2"),
    *("flux.2", "flux.2-klein", "chroma", "z-image", "cogview4", "hunyuan-video"),
    *("pixart-sigma", "pixart-alpha", "sdxl", "sdxl-v", "sd1.5"),
)
SCHEDULED = ("pixart-sigma", "pixart-alpha", "sdxl", "sdxl-v", "sd1.5")
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


def scheduler_of(pipeline: Any) -> dict[str, Any]:
    """The argument that a model of a noise schedule needs."""
    known = model_calls()[type(denoiser(pipeline)).__name__]
    return {} if known.objective == FLOW else {"scheduler": pipeline.scheduler}


def assert_as_the_pipeline(pipeline: Any, batch: dict[str, Any], embeddings: Any) -> None:
    """The first samples are measured as the pipeline's own call runs them."""
    model, given = denoiser(pipeline), scheduler_of(pipeline)
    found = calibrate(model, [batch], stop=Stop(samples=20), bar=False, **given)
    call, objective = OneStepCall(pipeline, Encoder(pipeline, CPU).call), objective_of(pipeline)
    clean = batch["latents"]
    with Probe(model) as probe, torch.no_grad():
        for number, record in enumerate(found.records[:3]):
            share = stratified_timestep(0, number, 10)
            assert record.timestep == share
            seed = torch.Generator().manual_seed(noise_seed(0, number))
            noised = objective.noised(clean, torch.randn(clean.shape, generator=seed), share)
            timesteps = objective.timesteps(torch.tensor([share]))
            own = probe.measure(
                lambda noised=noised, timesteps=timesteps: call(noised, timesteps, embeddings),
                samples=[number],
                text_mask=batch.get("text_mask"),
            )
            image = np.array(record.hidden_states, dtype=float)
            np.testing.assert_allclose(image, own.image[0], atol=1e-6)
            text = np.array(record.encoder_hidden_states, dtype=float)
            np.testing.assert_allclose(text, own.text[0][: len(text)], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_distances_are_those_of_the_pipelines_own_call(
    kind: str, pipelines: Callable[[str], Path]
) -> None:
    pipeline, batch, embeddings = encoded(pipelines(kind))
    assert (kind in SCHEDULED) == bool(scheduler_of(pipeline))
    assert_as_the_pipeline(pipeline, batch, embeddings)


def test_pixarts_largest_model_is_told_the_images_sizes(pipelines: Callable[[str], Path]) -> None:
    pipeline, batch, embeddings = encoded(pipelines("pixart-alpha"))
    config = {
        **pipeline.transformer.config,
        "sample_size": 128,
        "use_additional_conditions": True,
        # each of three sizes gets a third of the width
        "num_attention_heads": 3,
        "cross_attention_dim": 48,
    }
    pipeline.transformer = PixArtTransformer2DModel.from_config(config)
    drawn(denoiser(pipeline))
    assert_as_the_pipeline(pipeline, batch, embeddings)


def test_sdxl_takes_a_batchs_own_sizes(pipelines: Callable[[str], Path]) -> None:
    pipeline, batch, _ = encoded(pipelines("sdxl"))
    own, cropped = ([[64.0, 128, 0, 0, 64, 128]], [[512.0, 640, 8, 16, 64, 128]])
    lines = [
        [each.line for each in calibrated(pipeline, batch | sizes).records]
        for sizes in ({}, {"time_ids": torch.tensor(own)}, {"time_ids": torch.tensor(cropped)})
    ]
    assert lines[0] == lines[1] != lines[2]


def test_captions_with_padding_and_a_mask_are_captions_of_their_own_length(
    pipelines: Callable[[str], Path],
) -> None:
    pipeline, batch, _ = encoded(pipelines("z-image"))
    (text,) = batch["prompt_embeds"]
    padded = torch.cat([text, torch.ones(7, text.shape[1])])[None]
    mask = torch.arange(len(text) + 7)[None] < len(text)
    there = batch | {"prompt_embeds": padded, "prompt_attention_mask": mask}
    lines = [[each.line for each in calibrated(pipeline, one).records] for one in (batch, there)]
    assert lines[0] == lines[1]


def test_latents_that_are_patches_already_are_taken_as_they_are() -> None:
    config = SimpleNamespace(in_channels=128)
    latents = torch.randn(2, 32, 8, 12)
    patches = Flux2Pipeline._patchify_latents(latents)
    tokens = [PACKED["patches of FLUX.2"](config, each) for each in (latents, patches)]
    assert tokens[0].shape == (2, 24, 128)
    assert tokens[0].equal(tokens[1])


def calibrated(pipeline: Any, batch: dict[str, Any]) -> Calibration:
    given = scheduler_of(pipeline)
    return calibrate(denoiser(pipeline), [batch], stop=Stop(samples=20), bar=False, **given)


@pytest.mark.parametrize(
    ("config", "batch", "message"),
    [
        ({"in_channels": 9}, {}, "latents have 4 channels, the model takes 9"),
        ({"addition_embed_type": "image"}, {}, "addition_embed_type = 'image' in the model's"),
        (
            {},
            {"time_ids": torch.zeros(1, 5)},
            "80 numbers of pooled text and sizes, a batch has 72",
        ),
    ],
)
def test_a_unet_that_takes_something_else_is_refused_by_name(
    config: dict[str, Any],
    batch: dict[str, Any],
    message: str,
    pipelines: Callable[[str], Path],
) -> None:
    pipeline, own, _ = encoded(pipelines("sdxl"))
    pipeline.unet.register_to_config(**config)
    with pytest.raises(LokrWeightingError, match=message):
        calibrated(pipeline, own | batch)


def test_a_model_of_a_noise_schedule_wants_its_scheduler_and_keeps_to_it(
    pipelines: Callable[[str], Path], tmp_path: Path
) -> None:
    pipeline, batch, _ = encoded(pipelines("sd1.5"))
    stop = Stop(samples=20)
    with pytest.raises(LokrWeightingError, match="UNet2DConditionModel is noised by a schedule"):
        calibrate(pipeline.unet, [batch], stop=stop)
    first = calibrate(pipeline.unet, [batch], stop=stop, scheduler=pipeline.scheduler)
    other = DDPMScheduler(beta_end=0.012)
    second = calibrate(pipeline.unet, [batch], stop=stop, scheduler=other, cache=tmp_path / "other")
    assert first.records[0].line != second.records[0].line
    with pytest.raises(LokrWeightingError, match="schedule"):
        calibrate(
            pipeline.unet,
            [batch],
            stop=stop,
            scheduler=pipeline.scheduler,
            cache=tmp_path / "other",
        )


def test_a_scheduler_that_would_do_nothing_is_refused() -> None:
    with pytest.raises(LokrWeightingError, match="is noised by flow matching, whatever the sch"):
        calibrate(sd3(), [], scheduler=DDPMScheduler())
    with pytest.raises(LokrWeightingError, match="a forward of your own noises its batches itself"):
        calibrate(sd3(), [], lambda *_: None, scheduler=DDPMScheduler())


def test_a_row_noises_as_the_pipelines_of_its_family() -> None:
    for file in family_files():
        if file.model_call is not None:
            own = {call.objective for call in file.pipelines.values()}
            assert own == {file.model_call.objective}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        *("sd3", "flux", "auraflow", "qwen-image", "sana", "lumina2"),
        *("flux.2", "chroma", "z-image", "cogview4", "hunyuan-video", "pixart-sigma", "sdxl"),
    ],
)
def test_it_runs_in_half_precision_with_batches_in_single(
    kind: str, pipelines: Callable[[str], Path]
) -> None:
    pipeline, batch, _ = encoded(pipelines(kind))
    single = calibrated(pipeline, batch).heatmaps()
    denoiser(pipeline).to(torch.bfloat16)
    half = calibrated(pipeline, batch).heatmaps()
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
