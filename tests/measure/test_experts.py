"""Pipelines of two transformers: each is measured at the timesteps that it is trained for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lokr_weighting.data.encoding import SampleEncoder
from lokr_weighting.data.folder import find_images
from lokr_weighting.measure.batched import BatchedForward, inputs_of
from lokr_weighting.measure.forward import PipelineForward
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.records.reading import read_calibration
from tests.conftest import Run
from tests.measure.test_further_pipelines import CPU, Encoder, load_pipeline, watched
from tests.pipelines.wan import BOUNDARY

SHARES = {"transformer": (BOUNDARY, 1.0), "transformer_2": (0.0, BOUNDARY)}


@pytest.mark.parametrize("name", SHARES)
def test_a_transformer_runs_alone_at_timesteps_of_its_share(
    name: str, pipelines: Callable[[str], Path], images: Path
) -> None:
    folder = pipelines("wan2.2-14b")
    whole = load_pipeline(folder, torch.float32)
    pipeline = load_pipeline(folder, torch.float32, transformer=name)
    model, (low, high) = denoiser(pipeline), SHARES[name]
    assert [each for each in SHARES if getattr(pipeline, each) is not None] == [name]
    for mine, its in zip(model.parameters(), getattr(whole, name).parameters(), strict=True):
        assert torch.equal(mine, its)
    source = SampleEncoder(Encoder(pipeline, CPU), find_images(images), 64)
    samples = [source.draw(0, index, 10) for index in range(8)]
    source.encoder.free()
    forward, calls = PipelineForward(source.encoder), []
    handle = watched(model, calls)
    losses = []
    for each in samples:
        key, caption = (each.image, each.crop), source.caption_of(each)
        losses.append(float(forward.loss(each, key, caption)))
        latents, timestep, output = calls.pop()
        share = low + each.timestep * (high - low)
        assert low < share < high
        assert float(timestep) == pytest.approx(1000 * share)
        clean = source.encoder.latents[key]
        generator = torch.Generator().manual_seed(each.noise_seed)
        noise = torch.randn(clean.shape, generator=generator)
        torch.testing.assert_close(latents[:, :, 0], (1 - share) * clean + share * noise)
        missed = output[:, :, 0] - (noise - clean)
        assert losses[-1] == pytest.approx(float(missed.square().mean()), rel=1e-4)
    together = BatchedForward(pipeline, CPU).losses([inputs_of(source, each) for each in samples])
    assert together.tolist() == pytest.approx(losses, rel=1e-4)
    times = sorted(float(each) for _, all_times, _ in calls for each in all_times)
    shares = sorted(1000 * (low + each.timestep * (high - low)) for each in samples)
    assert times == pytest.approx(shares)
    handle.remove()


def test_both_are_generated_one_after_the_other_with_files_of_their_own(
    pipelines: Callable[[str], Path], images: Path, cli: Callable[..., Run], tmp_path: Path
) -> None:
    model = ("--model", pipelines("wan2.2-14b"), "--data", images)
    arguments = (*model, "--resolution", 64, "--samples", 20)
    none = cli("generate", *arguments)
    assert none.code == 2
    assert "two transformers" in none.err
    run = cli("generate", *arguments, "--transformer", "both")
    assert run.code == 0, run.err
    assert "measuring transformer for timesteps 0.875 to 1: its timesteps are counted as" in run.err
    found = [read_calibration(tmp_path / f"peft_config.{name}.calibration") for name in SHARES]
    for name, calibration in zip(SHARES, found, strict=True):
        config = f"peft_config.{name}.json"
        assert cli("verify", config, "--model", pipelines("wan2.2-14b")).code == 0
        assert calibration.settings["transformer"] == name
        assert calibration.settings["timesteps"] == list(SHARES[name])
    assert found[0].settings["weights"] != found[1].settings["weights"]
    assert found[0].records != found[1].records
    alone = cli("calibrate", *arguments, "--transformer", "transformer_2")
    assert alone.code == 0, alone.err
    assert read_calibration(tmp_path / "calibration").records == found[1].records


def test_what_both_cannot_mean_is_refused_before_anything_is_measured(
    pipelines: Callable[[str], Path], images: Path, cli: Callable[..., Run], tmp_path: Path
) -> None:
    both = ("--data", images, "--resolution", 64, "--transformer", "both")
    one = cli("generate", "--model", pipelines("wan2.1"), *both)
    assert (one.code, "has one transformer; leave" in one.err) == (2, True), one.err
    as_json = cli("generate", "--model", pipelines("wan2.2-14b"), *both, "--json")
    assert (as_json.code, "--json prints one plan: give" in as_json.err) == (2, True)
    assert not list(tmp_path.glob("*.calibration"))
