"""The examples are what the commands in their README write today, and run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lokr_weighting import make_plan, read_plan, write_plan
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.targets.conversion import peft_to_lycoris
from lokr_weighting.targets.peft.layout import saved_names
from tests.conftest import Run, random_heatmaps
from tests.inputs import write_digits

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "example_configs" / "lycoris"
TRAIN = ROOT / "example_configs" / "peft" / "train_lokr.py"


@pytest.mark.parametrize(
    ("name", "options"),
    [("sd3.5-large.json", ()), ("sd3.5-large-120M.json", ("--budget", "120M"))],
)
def test_lycoris_examples_are_current(
    cli: Callable[..., Run], tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    assert cli("plan", "--reference", "sd3.5-large", *options, "--output", name).code == 0
    assert json.loads((tmp_path / name).read_text()) == json.loads((EXAMPLES / name).read_text())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Inverted digits, which the digits model has not seen."""
    return write_digits(tmp_path / "images", 24, "--invert")


def train(folder: Path, images: Path, model: str, *options: object) -> str:
    """Run the training script; its output."""
    command = [str(TRAIN), "--model", model, "--data", str(images), *map(str, options)]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_training_script_learns_resumes_and_draws_on_the_digits_model(
    tmp_path: Path, images: Path
) -> None:
    write_plan(tmp_path / "plan.json", make_plan(random_heatmaps(12), "digits"))
    options = ["--plan", "plan.json", "--lr", "2e-3", "--batch-size", 4, "--checkpoint-steps", 15]
    said = train(tmp_path, images, "digits", *options, "--steps", 45)
    losses = [float(each) for each in re.findall(r"loss=(\d+\.\d+)", said)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    with Image.open(tmp_path / "out" / "samples.png") as samples:
        assert samples.width > samples.height == 64
    model = empty_transformer("digits")
    assert len(saved_names(tmp_path / "out" / "adapter")) > 1
    said = train(tmp_path, images, "digits", *options, "--steps", 50, "--resume")
    assert "Going on from out/checkpoint-45" in said
    assert "46/50" in said
    assert "44/50" not in said
    assert peft_to_lycoris(tmp_path / "out" / "adapter", tmp_path / "out.safetensors") == len(
        block_linears(model)
    )


@pytest.mark.slow
def test_the_training_script_measures_and_trains_flux(
    tmp_path: Path, images: Path, pipelines: Callable[[str], Path]
) -> None:
    said = train(tmp_path, images, str(pipelines("flux")), "--steps", 2, "--budget", "uniform:4")
    assert "2/2" in said
    plan = read_plan(tmp_path / "out" / "plan.json")
    assert plan.budget == "uniform:4"
    assert plan.measurement.samples is not None
