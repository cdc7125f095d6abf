import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from lokr_weighting import LokrWeightingError, Probe
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.samples import draw
from lokr_weighting.measure.job import Job
from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.models.loading import Offload, load_pipeline
from lokr_weighting.studies.ablate import ablate_folder, standard_strategies
from lokr_weighting.studies.ablation import (
    Ablation,
    Change,
    read_ablation,
    write_ablation,
)
from lokr_weighting.studies.contact_sheet import images_of
from lokr_weighting.studies.damage import ranks_of_skipping
from lokr_weighting.studies.strategies import Strategy
from tests.conftest import Run
from tests.tiny_pipelines import KINDS, build

SCRIPT = Path(__file__).parents[2] / "scripts" / "digits_images.py"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    subprocess.run([sys.executable, str(SCRIPT), str(folder), "--count", "12"], check=True)
    return folder


def made_up(damage: list[float], image: list[float], text: list[float]) -> Ablation:
    """An ablation in which skipping block i costs damage[i]."""
    nothing = np.zeros(10)
    changes = [
        Change(Strategy("skip", "blocks", i, i), cost, 0.1, nothing, nothing)
        for i, cost in enumerate(damage)
    ]
    names = tuple(f"blocks.{i}" for i in range(len(damage)))
    return Ablation("made up", 20, names, 1.0, tuple(changes), np.array(image), np.array(text))


def test_the_proxys_verdict_is_its_rank_correlation() -> None:
    damage = [float(i) for i in range(10)]
    image, text = ranks_of_skipping(made_up(damage, damage, [*damage[:-1][::-1], np.nan]))
    assert (image.stream, image.blocks, text.blocks) == ("image", 10, 9)
    assert image.rho == pytest.approx(1)
    assert text.rho == pytest.approx(-1)
    assert "predicted damage: blocks that turn it more are missed more" in image.verdict
    assert "the wrong way" in text.verdict
    # two swaps of neighbours among six: 1 - 6 * 4 / (6 * 35)
    (mixed, _) = ranks_of_skipping(made_up(damage[:6], [1, 0, 2, 3, 5, 4], [1, 0, 2, 3, 5, 4]))
    assert mixed.rho == pytest.approx(1 - 6 * 4 / 210)
    assert -1 < mixed.low < mixed.rho < mixed.high < 1
    chance = np.random.default_rng(0).permutation(10).tolist()
    assert "did not predict" in ranks_of_skipping(made_up(damage, chance, chance))[0].verdict


def test_a_file_reads_back_as_it_was(tmp_path: Path) -> None:
    written = made_up([1.0, 2.0], [0.1, 0.2], [0.3, np.nan])
    write_ablation(tmp_path / "ablation.json", written)
    found = read_ablation(tmp_path / "ablation.json")
    assert found.as_json() == written.as_json()
    assert [each.strategy for each in found.changes] == [each.strategy for each in written.changes]
    (tmp_path / "other.json").write_text('{"loss": 1}')
    with pytest.raises(LokrWeightingError, match="key 'model' is missing"):
        read_ablation(tmp_path / "other.json")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_runs_every_strategy(kind: str, tmp_path: Path, images: Path) -> None:
    build(kind, tmp_path / kind)
    strategies = standard_strategies(block_names(empty_transformer(str(tmp_path / kind))))
    if kind == "auraflow":
        strategies = [each for each in strategies if each.last > each.first][:4]
    found = ablate_folder(
        Job(str(tmp_path / kind), images, resolution=64), strategies, samples=20, device="cpu"
    )
    assert [each.strategy for each in found.changes] == strategies
    assert np.isfinite([each.change for each in found.changes]).all()
    assert all(each.error > 0 for each in found.changes)
    assert found.loss > 0


def test_the_loss_is_the_flow_matching_loss(tmp_path: Path, images: Path) -> None:
    """Against the transformer called by hand, on Stable Diffusion 3."""
    from lokr_weighting.data.images import open_image, to_array
    from lokr_weighting.measure.forward import PipelineForward

    pipeline = load_pipeline(build("sd3", tmp_path / "sd3"), torch.float32)
    encoder = Encoder(pipeline, torch.device("cpu"))
    encoder.encode_image(0, torch.from_numpy(to_array(open_image(next(images.glob("*.png"))))))
    encoder.encode_caption("a digit")
    sample = draw(seed=0, index=3, bins=10, captions=[1])
    with Probe(pipeline.transformer):
        found = float(PipelineForward(encoder).loss(sample, 0, "a digit"))
    clean, embeddings = encoder.latents[0], encoder.embeddings["a digit"]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(sample.noise_seed))
    t = sample.timestep
    with torch.no_grad():
        velocity = pipeline.transformer(
            hidden_states=(1 - t) * clean + t * noise,
            timestep=torch.tensor([1000 * t]),
            encoder_hidden_states=embeddings["prompt_embeds"],
            pooled_projections=embeddings["pooled_prompt_embeds"],
            return_dict=False,
        )[0]
    expected = (velocity - (noise - clean)).square().mean()
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_too_few_samples_and_impossible_orders_are_refused(tmp_path: Path, images: Path) -> None:
    build("sd3", tmp_path / "sd3")
    job = Job(str(tmp_path / "sd3"), images, resolution=64)
    with pytest.raises(LokrWeightingError, match="at least 20"):
        ablate_folder(job, samples=10, device="cpu")
    # the last block hands no text on to the one that would come after it
    backwards = [Strategy("reverse", "transformer_blocks", 0, 5)]
    with pytest.raises(LokrWeightingError, match="cannot be run like this"):
        ablate_folder(job, backwards, samples=20, device="cpu")


@pytest.mark.parametrize("offload", ["none", "group", "sequential"])
def test_images_are_the_pipelines_own_also_offloaded(
    offload: Offload, pipelines: Callable[[str], Path], images: Path
) -> None:
    job = Job(str(pipelines("sd3")), images, resolution=64, seed=3)
    skipped = [Strategy("skip", "transformer_blocks", 1, 1)]
    steps = {"num_inference_steps": 2}
    seen = []
    rows = images_of(
        job,
        skipped,
        ["a", "b"],
        device="cpu",
        offload=offload,
        on_progress=lambda *each: seen.append(each),
        **steps,
    )
    pipeline: Any = DiffusionPipeline.from_pretrained(pipelines("sd3"))
    noise = torch.Generator().manual_seed(4)
    own = pipeline("b", generator=noise, height=64, width=64, **steps).images[0]
    assert np.array_equal(np.array(rows[0][1]), np.array(own))
    assert not np.array_equal(np.array(rows[1][1]), np.array(own))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("stopped", "message", "written"),
    [
        ("lokr_weighting.studies.ablate._losses", "nothing was written", False),
        pytest.param(
            "lokr_weighting.studies.contact_sheet.images_of",
            "out holds the table and its figures, but no contact sheet",
            True,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_interrupted_it_says_what_there_is(
    stopped: str,
    message: str,
    written: bool,
    pipelines: Callable[[str], Path],
    images: Path,
    cli: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stopped, interrupt)
    options = ["--model", pipelines("sd3"), "--data", images, "--samples", "20"]
    done = cli("ablate", *options, "--images", "1", "--resolution", "64", "-o", "out")
    assert done.code == 130
    assert f"interrupted: {message}" in done.err
    assert (tmp_path / "out" / "ablation.json").exists() == written


@pytest.mark.slow
def test_two_processes_measure_what_one_does(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29618"]
    options = ["--model", pipelines("sd3"), "--data", images, "--samples", 21, "--resolution", 64]
    for name, way in {"one": [], "two": launch}.items():
        command = [sys.executable, *way, "-m", "lokr_weighting", "ablate"]
        command += [*map(str, options), "-o", str(tmp_path / name)]
        subprocess.run(command, check=True)
    one, two = (tmp_path / name / "ablation.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_the_command_on_the_digits_model(
    cli: Callable[..., Run], tmp_path: Path, images: Path
) -> None:
    options = ["--model", "digits", "--data", images, "--samples", "20"]
    done = cli("ablate", *options, "--images", "2", "--resolution", "64", "-o", "out")
    assert done.code == 0, done.err
    assert "On this model and these data, the image stream's distance" in done.out
    found = json.loads((tmp_path / "out" / "ablation.json").read_text())
    changes = {(each["kind"], each["first"], each["last"]): each for each in found["changes"]}
    assert len(changes) == 16
    # a trained model needs its blocks, the middle half more than any one of them
    single = [changes["skip", i, i]["change"] for i in range(12)]
    assert min(single) > 0
    assert changes["skip", 3, 8]["change"] > max(single)
    done = cli("calibrate", "--model", "digits", "--data", images, "--samples", "20")
    assert done.code == 0, done.err
    done = cli("report", "calibration", "--ablation", "out/ablation.json")
    assert done.code == 0, done.err
    page = (tmp_path / "report.html").read_text()
    assert "What it costs to run blocks otherwise" in page
    assert "On this model and these data, the text stream&#39;s distance" in page
    for name in ("ablation", "distance_and_damage", "contact_sheet"):
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert image.width > 400
