"""Whole SimpleTuner runs: each is a process of its own, started as a user starts it."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel
from lycoris import create_lycoris_from_weights
from PIL import Image, ImageOps
from safetensors.torch import save_file

from lokr_weighting.models.known import shipped_pipeline
from lokr_weighting.targets.conversion import lycoris_to_peft
from lokr_weighting.targets.peft import load_lora_adapter
from lokr_weighting.targets.tensors import differences_from_plan
from tests.plugin.runs import LYCORIS, MODULE, Trained, prepare, start, train
from tests.targets.peft.test_adapters import output
from tests.tiny_models import model_and_inputs

pytestmark = pytest.mark.slow

Pipelines = Callable[[str], Path]
SIMPLETUNER = str(Path(sys.executable).parent / "simpletuner")
FLAG = f"-m {MODULE}"
FEW = 40  # samples, where the plan need not settle


def made(run: Trained, file: Path | None = None) -> dict[str, dict[str, tuple[int, ...]]]:
    """The modules of a saved adapter, by their names in the model -> their tensors' shapes."""
    names = {f"lycoris_{linear.name.replace('.', '_')}": linear.name for linear in run.plan.linears}
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, tensor in run.tensors(file).items():
        module, _, name = key.rpartition(".")
        found.setdefault(names.get(module, module), {})[name] = tuple(tensor.shape)
    return found


def records(run: Trained) -> bytes:
    (calibration,) = run.calibrations
    return (calibration / "records.jsonl").read_bytes()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, pipelines: Pipelines, images: Path) -> Trained:
    """A weighted SD3 run from the command line."""
    run = prepare(tmp_path_factory.mktemp("runs") / "sd3", "sd3", pipelines("sd3"), images)
    return start(
        run,
        [SIMPLETUNER, "train", f"accelerate_extra_args={FLAG}", f"lokr_weighting_samples={FEW}"],
    )


def test_one_flag_trains_and_saves_the_plans_splits(first: Trained) -> None:
    assert first.code == 0, first.log
    made_all = f"LyCORIS {version('lycoris-lora')} makes all 81 modules as planned"
    assert f"Read back: in SimpleTuner {made_all}" in first.log
    assert differences_from_plan(first.plan, made(first)) == []
    assert len({linear.split.label for linear in first.plan.linears}) > 1
    assert len(records(first).splitlines()) == FEW
    assert "Plan for" in first.log
    page = (first.output / "lokr_weighting" / "report.html").read_text()
    assert "makes all 81 modules as planned" in page
    assert len(first.losses) == 2


def test_a_saved_adapter_names_its_plan(first: Trained) -> None:
    config = json.loads(first.metadata()["lycoris_config"])
    assert config["lokr_weighting"]["plan"] == first.plan.identity
    assert config["lokr_weighting"]["parameters"] == first.plan.parameters


def test_a_saved_adapter_loads_in_diffusers(tmp_path: Path, first: Trained) -> None:
    pipeline = json.loads(first.config_file.read_text())["pretrained_model_name_or_path"]
    plain, by_lycoris, by_diffusers = (
        SD3Transformer2DModel.from_pretrained(pipeline, subfolder="transformer") for _ in range(3)
    )
    # a few steps move little: make what was trained plain to see, in a file of the same layout
    strong = tmp_path / "strong.safetensors"
    save_file({name: tensor * 30 for name, tensor in first.tensors().items()}, strong)
    network, _ = create_lycoris_from_weights(1.0, str(strong), by_lycoris)
    network.apply_to()
    lycoris_to_peft(strong, by_diffusers, tmp_path / "adapter")
    load_lora_adapter(by_diffusers, tmp_path / "adapter")
    _, inputs = model_and_inputs("sd3")
    base, expected, found = (output(model, inputs) for model in (plain, by_lycoris, by_diffusers))
    assert (expected - base).abs().max() > 1e-2
    assert (found - expected).abs().max() < 1e-5
    # in bfloat16, as SimpleTuner trains, both are rounded differently
    halves = [output(model.bfloat16(), halved(inputs)) for model in (by_lycoris, by_diffusers)]
    assert (halves[0] - halves[1]).float().norm() < 0.02 * expected.norm()


def halved(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.bfloat16() for name, tensor in inputs.items()}


def test_the_environment_works_too(tmp_path: Path, pipelines: Pipelines, images: Path) -> None:
    run = prepare(tmp_path / "run", "flux", pipelines("flux"), images, lokr_weighting_samples=FEW)
    start(run, [SIMPLETUNER, "train"], ACCELERATE_EXTRA_ARGS=FLAG)
    assert run.code == 0, run.log
    assert differences_from_plan(run.plan, made(run)) == []
    assert {linear.block for linear in run.plan.linears} == set(range(7))


def test_the_digits_model_learns_inverted_digits(tmp_path: Path, images: Path) -> None:
    inverted = tmp_path / "inverted"
    shutil.copytree(images, inverted)
    for path in inverted.glob("*.png"):
        ImageOps.invert(Image.open(path).convert("RGB")).save(path)
    digits = shipped_pipeline("digits")
    assert digits is not None
    run = prepare(tmp_path / "run", "sd3", digits, inverted)
    run.configure(max_train_steps=60, train_batch_size=4, learning_rate=2e-3)
    run.configure(lokr_weighting_samples=FEW)
    train(run)
    assert run.code == 0, run.log
    assert differences_from_plan(run.plan, made(run)) == []
    assert np.mean(run.losses[-12:]) < 0.8 * np.mean(run.losses[:12])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, pipelines: Pipelines, images: Path) -> Trained:
    """An SD3 run without the plugin."""
    run = prepare(tmp_path_factory.mktemp("runs") / "plain", "sd3", pipelines("sd3"), images)
    run.configure(max_train_steps=4, checkpoint_step_interval=2)
    return train(run, plugin=False)


def test_measuring_leaves_training_bit_identical(
    tmp_path: Path, plain: Trained, pipelines: Pipelines, images: Path
) -> None:
    run = prepare(tmp_path / "run", "sd3", pipelines("sd3"), images, max_train_steps=4)
    # more batches than an epoch has, so that samplers and repeats begin again
    run.configure(
        lokr_weighting_measure_only=True,
        lokr_weighting_samples=100,
        lokr_weighting_similarity=True,
    )
    train(run)
    assert run.code == 0, run.log
    assert len(records(run).splitlines()) == 100
    (calibration,) = run.calibrations
    assert len((calibration / "similarity.jsonl").read_bytes().splitlines()) == 100
    report = (run.output / "lokr_weighting" / "report.html").read_text()
    assert "Which blocks share a representation" in report
    assert "the run's own LyCORIS configuration is trained" in run.log
    expected, measured = plain.tensors(), run.tensors()
    assert expected.keys() == measured.keys()
    assert all(torch.equal(expected[name], measured[name]) for name in expected)
    assert any(tensor.count_nonzero() for name, tensor in measured.items() if "lokr_w1" in name)


def test_an_interrupted_calibration_resumes_exactly(
    tmp_path: Path, first: Trained, pipelines: Pipelines, images: Path
) -> None:
    run = prepare(tmp_path / "run", "sd3", pipelines("sd3"), images, lokr_weighting_samples=FEW)
    begun = re.compile(rf"Measuring blocks.*\b[1-9]\d*/{FEW} ", re.DOTALL)
    train(run, until=lambda log: begun.search(log) is not None)
    assert run.code == 130
    assert "Interrupted; what was measured is kept" in run.log
    assert 0 < len(records(run).splitlines()) < FEW
    assert not run.adapter.exists()
    train(run)
    assert run.code == 0, run.log
    assert "Resuming the calibration" in run.log
    assert records(run) == records(first)


def test_a_finished_calibration_is_reused_and_a_changed_dataset_measured_anew(
    tmp_path: Path, first: Trained, images: Path
) -> None:
    run = Trained(tmp_path / "run")
    shutil.copytree(first.folder, run.folder)
    run.configure(lokr_weighting_samples=FEW, lokr_weighting_budget="uniform:4")
    train(run)
    assert run.code == 0, run.log
    assert "Reusing the finished calibration" in run.log
    assert "Measuring blocks" not in run.log
    assert run.plan.budget == "uniform:4"
    assert differences_from_plan(run.plan, made(run)) == []

    changed = tmp_path / "changed"
    shutil.copytree(images, changed)
    caption = next(changed.glob("*.txt"))
    caption.write_text("another caption")
    datasets = run.folder / "config" / "multidatabackend.json"
    datasets.write_text(datasets.read_text().replace(str(images), str(changed)))
    train(run)
    assert run.code == 0, run.log
    assert "Calibrating anew: in calibration-" in run.log
    assert "data was" in run.log
    assert len(run.calibrations) == 2


def test_a_run_goes_on_from_its_checkpoint_with_the_checkpoints_configuration(
    tmp_path: Path, pipelines: Pipelines, images: Path
) -> None:
    run = prepare(
        tmp_path / "run",
        "sd3",
        pipelines("sd3"),
        images,
        lokr_weighting_samples=FEW,
        checkpoint_step_interval=2,
    )
    train(run)
    assert run.code == 0, run.log
    checkpoint = run.output / "checkpoint-2"
    saved = checkpoint / "pytorch_lora_weights.safetensors"
    assert json.loads(run.metadata(saved)["lokr_weighting"])["plan"] == run.plan.identity
    shutil.rmtree(run.calibrations[0])
    # another budget than the checkpoint's cannot be had any more
    run.configure(max_train_steps=4, lokr_weighting_budget="uniform:8")
    train(run)
    assert run.code == 0, run.log
    assert "Going on from output/checkpoint-2 with its own configuration" in run.log
    assert "Measuring blocks" not in run.log
    assert differences_from_plan(run.plan, made(run)) == []
    later = run.output / "checkpoint-4" / "pytorch_lora_weights.safetensors"
    assert json.loads(run.metadata(later)["lokr_weighting"])["plan"] == run.plan.identity


def test_a_checkpoint_without_weighting_stops_the_run(tmp_path: Path, plain: Trained) -> None:
    run = Trained(tmp_path / "run")
    shutil.copytree(plain.folder, run.folder)
    train(run)
    assert run.code == 2
    assert "checkpoint-4: this checkpoint was trained without weighting" in run.log
    assert run.tensors().keys() == plain.tensors().keys()


def test_two_processes_measure_and_train_one_plan(
    tmp_path: Path, pipelines: Pipelines, images: Path
) -> None:
    run = prepare(tmp_path / "run", "sd3", pipelines("sd3"), images, lokr_weighting_samples=FEW)
    start(
        run,
        [
            SIMPLETUNER,
            "train",
            "num_processes=2",
            f"accelerate_extra_args=--multi_gpu {FLAG}",
        ],
        ACCELERATE_USE_CPU="true",
    )
    assert run.code == 0, run.log
    numbers = [json.loads(line)["sample"] for line in records(run).splitlines()]
    assert numbers == list(range(FEW))
    settings = json.loads((run.calibrations[0] / "settings.json").read_text())
    assert settings["processes"] == 2
    assert differences_from_plan(run.plan, made(run)) == []


def test_a_failed_calibration_stops_before_training(
    tmp_path: Path, pipelines: Pipelines, images: Path
) -> None:
    run = prepare(tmp_path / "run", "sd3", pipelines("sd3"), images, lokr_weighting_budget="100")
    train(run)
    assert run.code == 2
    assert "lokr-weighting: budget '100'" in run.log
    assert "Measuring blocks" not in run.log
    assert not run.adapter.exists()

    run.configure(lokr_weighting_on_error="continue")
    train(run)
    assert run.code == 0, run.log
    assert "NOT WEIGHTED: this run trains its own LyCORIS configuration" in run.log
    shapes = {tuple(t.shape) for name, t in run.tensors().items() if name.endswith("lokr_w1")}
    assert shapes == {(LYCORIS["factor"], LYCORIS["factor"])}


def test_the_key_stops_a_run_that_was_started_without_the_plugin(
    tmp_path: Path, pipelines: Pipelines, images: Path
) -> None:
    run = prepare(tmp_path / "run", "sd3", pipelines("sd3"), images, lokr_weighting=True)
    start(run, [SIMPLETUNER, "train", f"--accelerate_extra_args={FLAG}"])
    assert run.code != 0
    assert "--lokr_weighting" in run.log
    assert not run.adapter.exists()
