"""Models of videos: folders of videos are run through them as their pipelines prepare them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lokr_weighting import LokrWeightingError, calibrate_folder
from lokr_weighting.data.encoding import SampleEncoder
from lokr_weighting.data.folder import find_images
from lokr_weighting.data.images import to_array
from lokr_weighting.data.samples import draw
from lokr_weighting.data.videos import first_frames
from lokr_weighting.measure.batched import BatchedForward, inputs_of
from lokr_weighting.measure.forward import PipelineForward
from lokr_weighting.measure.stop import Stop
from lokr_weighting.models.denoiser import denoiser
from tests.conftest import Run
from tests.data.test_folder import picture
from tests.inputs import job, records_in
from tests.measure.alone import losses_alone
from tests.measure.test_further_pipelines import CPU, Encoder, load_pipeline, watched
from tests.pipelines.parts import MEAN, STD
from tests.videos import video

STEPS = {"wan2.1": 4, "wan2.2-5b": 4, "ltx": 8, "hunyuan-video": 4, "kandinsky5-video": 4}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three videos of other lengths and sizes, and an image."""
    folder = tmp_path / "clips"
    video(folder / "a.mp4", frames=14)
    video(folder / "b.mkv", frames=9, width=64, height=64)
    video(folder / "c.mp4", frames=3, width=64, height=96)
    picture(folder / "d.png")
    (folder / "a.txt").write_text("a stripe grows")
    return folder


def handed(kind: str, clean: torch.Tensor) -> torch.Tensor:
    """A video's latents as the model gets them."""
    if kind == "ltx":
        return clean.flatten(2).transpose(1, 2)
    if kind != "kandinsky5-video":
        return clean
    last = clean.permute(0, 2, 3, 4, 1)
    return torch.cat([last, torch.zeros(*last.shape[:-1], last.shape[-1] + 1)], dim=-1)


def normalised(kind: str, pipeline: Any, encoded: torch.Tensor) -> torch.Tensor:
    if kind in ("hunyuan-video", "kandinsky5-video"):
        return encoded * pipeline.vae.config.scaling_factor
    columns = [(encoded[:, i] - MEAN[i]) / STD[i] for i in range(len(MEAN))]
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("kind", STEPS)
@torch.no_grad()
def test_the_model_gets_the_noised_latents_of_every_frame_that_its_vae_takes(
    kind: str, pipelines: Callable[[str], Path], clips: Path
) -> None:
    pipeline = load_pipeline(pipelines(kind), torch.float32)
    encoder = Encoder(pipeline, CPU)
    source = SampleEncoder(encoder, find_images(clips, videos=True), 64, frames=13)
    taken = {4: 13, 8: 9}[STEPS[kind]]
    # the second is square: its only crop is all of it
    frames = [to_array(frame) for frame in first_frames(clips / "b.mkv", 9)]
    pixels = torch.stack([torch.from_numpy(frame) for frame in frames], dim=1)[None]
    expected = normalised(kind, pipeline, pipeline.vae.encode(pixels).latent_dist.mode())
    for image, count in ((0, taken), (1, 9), (2, 1)):
        source.encode(image)
        latents = encoder.latents[image, 0]
        assert latents.shape[2] == 1 + (count - 1) // STEPS[kind]
    clean = encoder.latents[1, 0]
    torch.testing.assert_close(clean, expected)
    encoder.encode_caption("a stripe grows")
    encoder.free()
    forward, calls = PipelineForward(encoder), []
    handle = watched(denoiser(pipeline), calls)
    sample = draw(0, 0, 10, [1])
    forward.loss(sample, (1, 0), "a stripe grows")
    handle.remove()
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(sample.noise_seed))
    noised = (1 - sample.timestep) * expected + sample.timestep * noise
    torch.testing.assert_close(calls[0][0], handed(kind, noised), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", STEPS)
def test_videos_of_one_length_at_once_have_the_losses_that_they_have_alone(
    kind: str, pipelines: Callable[[str], Path], clips: Path
) -> None:
    pipeline = load_pipeline(pipelines(kind), torch.float32)
    encoder = Encoder(pipeline, CPU)
    source = SampleEncoder(encoder, find_images(clips, videos=True), 64, frames=9)
    samples = [source.draw(0, index, 10) for index in range(6)]
    encoder.free()
    alone = PipelineForward(encoder)
    expected = losses_alone(alone, source, samples)
    losses = BatchedForward(pipeline, CPU).losses([inputs_of(source, each) for each in samples])
    assert losses.tolist() == pytest.approx(expected, rel=1e-4)


def test_a_broken_video_is_left_out_and_named(
    pipelines: Callable[[str], Path], clips: Path, tmp_path: Path
) -> None:
    for number in range(8):
        picture(clips / f"{number}.png")
    (clips / "broken.mp4").write_bytes(b"nothing")
    found, _ = calibrate_folder(
        job(pipelines("wan2.1"), clips, frames=5), tmp_path / "made", stop=Stop(samples=40)
    )
    assert list(found.skipped) == ["broken.mp4"]
    assert found.settings["frames"] == 5


def test_how_many_frames_are_taken_decides_the_records(
    pipelines: Callable[[str], Path], clips: Path, tmp_path: Path
) -> None:
    for frames in (1, 5):
        made = job(pipelines("wan2.1"), clips, frames=frames)
        calibrate_folder(made, tmp_path / str(frames), stop=Stop(samples=20))
    assert records_in(tmp_path / "1") != records_in(tmp_path / "5")
    with pytest.raises(LokrWeightingError, match="frames"):
        calibrate_folder(made, tmp_path / "1", stop=Stop(samples=20))


@pytest.mark.parametrize(
    ("kind", "frames", "message"),
    [
        ("flux", 9, "frames = 9: FluxPipeline is a model of images; leave --frames out"),
        ("wan2.1", 0, "frames = 0: at least 1 is wanted"),
    ],
)
def test_a_number_of_frames_that_means_nothing_is_refused(
    kind: str,
    frames: int,
    message: str,
    pipelines: Callable[[str], Path],
    images: Path,
    cli: Callable[..., Run],
) -> None:
    run = cli("calibrate", "--model", pipelines(kind), "--data", images, "--frames", frames)
    assert (run.code, message in run.err) == (2, True), run.err
