import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lokr_weighting import LokrWeightingError, Recipe, Stop, calibrate, calibrate_folder
from lokr_weighting.records.reading import read_calibration
from lokr_weighting.records.store import NOT_FINITE, RECORDS, SIMILARITY
from lokr_weighting.studies.similarity import similarity_of
from tests.inputs import SHORT, command, job, records_in
from tests.tiny_models import model_and_inputs


def test_the_same_job_twice_gives_the_same_records(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        calibrate_folder(job(pipelines("flux"), images), tmp_path / name, stop=SHORT)
    assert records_in(tmp_path / "a") == records_in(tmp_path / "b")
    calibrate_folder(job(pipelines("flux"), images, seed=1), tmp_path / "c", stop=SHORT)
    assert records_in(tmp_path / "c") != records_in(tmp_path / "a")


def test_the_studys_own_loader_reads_the_records(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    """Its notebook: sums by `timestep` bin over the lists, however long, and divides."""
    calibration, _ = calibrate_folder(job(pipelines("sd3"), images), tmp_path / "c", stop=SHORT)
    sums, counts = np.zeros((2, 10, 6)), np.zeros((2, 10, 6))
    for line in (tmp_path / "c" / RECORDS).open():
        d = json.loads(line)
        place = min(int(d["timestep"] * 10), 9)
        for stream, key in enumerate(("hidden_states", "encoder_hidden_states")):
            for layer, distance in enumerate(d[key]):
                sums[stream, place, layer] += distance
                counts[stream, place, layer] += 1
    heatmaps = calibration.heatmaps()
    np.testing.assert_allclose(sums[0] / counts[0], heatmaps.image)
    np.testing.assert_allclose(sums[1, :, :5] / counts[1, :, :5], heatmaps.text[:, :5])
    assert counts[1, :, 5].sum() == 0


@pytest.mark.slow
def test_killed_and_resumed_the_records_are_bit_identical(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([sys.executable, *command(pipelines("sd3"), images, whole, 200)], check=True)
    process = subprocess.Popen([sys.executable, *command(pipelines("sd3"), images, killed, 200)])
    deadline = time.monotonic() + 120
    while not (killed / RECORDS).exists() or records_in(killed).count(b"\n") < 7:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 7 <= records_in(killed).count(b"\n") < 200
    assert not (killed / "calibration.json").exists()
    this = job(pipelines("sd3"), images)
    calibrate_folder(this, killed, stop=Stop(samples=200), similarity=True)
    assert records_in(killed) == records_in(whole)
    assert (killed / SIMILARITY).read_bytes() == (whole / SIMILARITY).read_bytes()
    assert (
        read_calibration(killed).heatmaps().identity == read_calibration(whole).heatmaps().identity
    )


@pytest.mark.slow
def test_two_processes_measure_what_one_does(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    this = job(pipelines("auraflow"), images)
    calibrate_folder(this, one, stop=Stop(samples=30), similarity=True)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29617"]
    subprocess.run(
        [sys.executable, *launch, *command(pipelines("auraflow"), images, two, 30)], check=True
    )
    assert json.loads((two / "calibration.json").read_text())["processes"] == 2
    assert records_in(two) == records_in(one)
    assert (two / SIMILARITY).read_bytes() == (one / SIMILARITY).read_bytes()


def test_it_stops_when_the_plan_is_settled(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    seen = []
    stop = Stop(per_bin=4, most=120, share=0.5)
    calibration, settled = calibrate_folder(
        job(pipelines("flux"), images),
        tmp_path / "c",
        Recipe(max_factor=2, critical="off"),
        stop=stop,
        on_progress=lambda *progress: seen.append(progress),
    )
    assert settled is not None
    assert settled.samples == len(calibration.records) == 40
    assert settled.near >= 0.5
    summary = json.loads((tmp_path / "c" / "calibration.json").read_text())
    assert summary["settled"] is True
    assert len(summary["image_error"]) == 7
    assert seen[0][0] == 1


def test_a_calibration_goes_on_where_another_recipe_needs_more(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    this = job(pipelines("flux"), images)
    easy = Recipe(max_factor=1, other_multiplier=1, critical="off")
    first, _ = calibrate_folder(this, tmp_path / "c", easy, stop=Stop(per_bin=2, most=40))
    assert len(first.records) == 20
    before = records_in(tmp_path / "c")
    more, _ = calibrate_folder(this, tmp_path / "c", stop=Stop(per_bin=2, most=30, share=1.1))
    assert len(more.records) == 30
    assert records_in(tmp_path / "c").startswith(before)


def test_another_model_or_dataset_is_refused(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(pipelines("flux"), model)
    calibrate_folder(job(model, images), tmp_path / "c", stop=SHORT)
    file = next((model / "transformer").glob("*.safetensors"))
    save_file({name: x + 1e-3 for name, x in load_file(file).items()}, file)
    with pytest.raises(LokrWeightingError, match="a calibration with pipeline ="):
        calibrate_folder(job(model, images), tmp_path / "c", stop=SHORT)
    shutil.copytree(pipelines("flux"), model, dirs_exist_ok=True)
    other = tmp_path / "images"
    shutil.copytree(images, other)
    (other / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "changed"}')
    with pytest.raises(LokrWeightingError, match="a calibration with data ="):
        calibrate_folder(job(model, other), tmp_path / "c", stop=SHORT)


def test_a_block_with_inf_stops_the_run_with_its_name(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(pipelines("sd3"), model)
    file = next((model / "transformer").glob("*.safetensors"))
    tensors = load_file(file)
    tensors["transformer_blocks.2.ff.net.2.bias"].fill_(torch.inf)
    save_file(tensors, file)
    with pytest.raises(LokrWeightingError, match=r"^transformer_blocks\.2 gives NaN or Inf in 4"):
        calibrate_folder(job(model, images), tmp_path / "c", stop=SHORT)
    assert (tmp_path / "c" / NOT_FINITE).read_text().count("transformer_blocks.2") == 4


def test_a_broken_image_is_skipped_named_and_counted(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(images, data)
    for i in range(12):
        shutil.copy(images / "0.png", data / f"copy{i}.png")
    whole = (data / "3.png").read_bytes()
    (data / "3.png").write_bytes(whole[: len(whole) // 2])
    calibration, _ = calibrate_folder(
        job(pipelines("flux"), data), tmp_path / "c", stop=Stop(samples=60)
    )
    assert list(calibration.skipped) == ["3.png"]
    assert len(calibration.records) == 60
    for i in range(8):
        (data / f"{i}.png").write_bytes(b"")
    with pytest.raises(LokrWeightingError, match=r"3 of 20 images are broken"):
        calibrate_folder(job(pipelines("flux"), data), tmp_path / "d", stop=Stop(samples=60))


@pytest.mark.parametrize("offload", ["group", "sequential"])
def test_offloading_measures_the_same(
    offload: str, pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    plain, _ = calibrate_folder(job(pipelines("sd3"), images), tmp_path / "a", stop=SHORT)
    moved, _ = calibrate_folder(
        job(pipelines("sd3"), images),
        tmp_path / "b",
        stop=SHORT,
        offload=offload,  # type: ignore[arg-type]
    )
    np.testing.assert_allclose(moved.heatmaps().image, plain.heatmaps().image, atol=1e-6)


def test_a_quantised_transformer_is_measured(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    plain, _ = calibrate_folder(job(pipelines("flux"), images), tmp_path / "a", stop=SHORT)
    int8 = {"backend": "quanto", "weights_dtype": "int8"}
    small, _ = calibrate_folder(
        job(pipelines("flux"), images, quantization=int8), tmp_path / "b", stop=SHORT
    )
    apart = np.abs(small.heatmaps().image - plain.heatmaps().image)
    assert 0 < apart.max() < 0.01
    with pytest.raises(LokrWeightingError, match="backend = 'int9': use one of"):
        calibrate_folder(
            job(pipelines("flux"), images, quantization={"backend": "int9"}), tmp_path / "c"
        )


def test_half_precision_and_buckets_are_settings(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    this = job(pipelines("auraflow"), images, dtype="bfloat16", buckets=True, crops=2)
    calibration, _ = calibrate_folder(this, tmp_path / "c", stop=SHORT)
    assert calibration.settings["dtype"] == "bfloat16"
    assert np.isfinite(calibration.heatmaps().image).all()


def test_a_loop_of_ones_own_is_calibrated_without_changing_the_model() -> None:
    model, inputs = model_and_inputs("sd3")
    model.train()
    model.get_submodule("transformer_blocks.1").eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rng = torch.Generator().manual_seed(0)
    batches = [{"latents": torch.randn(4, 16, 8, 8, generator=rng), "caption": i} for i in range(3)]
    times: list[float] = []

    def forward(model: torch.nn.Module, batch: dict[str, torch.Tensor], t: torch.Tensor) -> None:
        assert not model.training
        times.extend(t.tolist())
        clean = batch["latents"]
        noised = (1 - t.view(-1, 1, 1, 1)) * clean + t.view(-1, 1, 1, 1) * torch.randn_like(clean)
        text = inputs["encoder_hidden_states"][:1].expand(len(clean), -1, -1)
        pooled = inputs["pooled_projections"][:1].expand(len(clean), -1)
        model(
            hidden_states=noised,
            encoder_hidden_states=text,
            pooled_projections=pooled,
            timestep=t * 1000,
        )

    calibration = calibrate(model, batches, forward, stop=Stop(samples=30), similarity=True)
    assert len(calibration.records) == 30
    assert similarity_of(calibration).image.shape == (6, 6)
    assert sorted(int(t * 10) for t in times[:10]) == list(range(10))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(LokrWeightingError, match="no more batches"):
        calibrate(model, [], forward, stop=SHORT)
