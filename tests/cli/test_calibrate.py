import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lokr_weighting import LokrWeightingError, calibrate_folder
from lokr_weighting.measure.calibrate import GRADIENT_SAMPLES
from lokr_weighting.records.gains import GAINS, Gains, write_gains
from lokr_weighting.records.reading import read_calibration
from lokr_weighting.records.store import RECORDS
from tests.conftest import Run
from tests.inputs import SHORT, command, job, records_in


@pytest.mark.slow
def test_interrupted_it_says_how_to_resume(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "c"
    process = subprocess.Popen(
        [sys.executable, *command(pipelines("sd3"), images, output, 2000)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (output / RECORDS).exists() or records_in(output).count(b"\n") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resume with: lokr-weighting calibrate" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_gradients_are_added_to_a_calibration_and_planned_with(
    cli: Callable[..., Run], pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    pipeline, folder, config = str(pipelines("sd3")), tmp_path / "c", tmp_path / "lokr.json"
    options = ["--model", pipeline, "--data", str(images), "--resolution", "64", "--samples", "20"]
    planning = ["--calibration", str(folder), "--budget", "uniform:4", "-o", str(config)]
    assert cli("calibrate", *options, "-o", str(folder)).code == 0
    refused = cli("plan", *planning, "--recipe", "gradient")
    assert refused.code == 2
    assert "run calibrate again with --gradients" in refused.err
    records = records_in(folder)
    assert cli("calibrate", *options, "-o", str(folder), "--gradients").code == 0
    assert records_in(folder) == records
    gains = (folder / GAINS).read_bytes()
    assert read_calibration(folder).gains.samples == GRADIENT_SAMPLES  # pyright: ignore
    done = cli("plan", *planning, "--recipe", "gradient")
    assert done.code == 0, done.err
    assert "Recipe gradient: by what each split of each Linear can follow" in done.out
    assert "modules as planned" in done.out
    # there already, it is not measured again
    assert cli("calibrate", *options, "-o", str(folder), "--gradients").code == 0
    assert (folder / GAINS).read_bytes() == gains


def test_gains_of_another_calibration_are_refused(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        calibrate_folder(job(pipelines("sd3"), images, seed=seed), tmp_path / name, stop=SHORT)
    calibration = read_calibration(tmp_path / "a")
    write_gains(tmp_path / "a" / GAINS, Gains(20, {}, {}), calibration.settings)
    assert read_calibration(tmp_path / "a").gains == Gains(20, {}, {})
    (tmp_path / "a" / GAINS).rename(tmp_path / "b" / GAINS)
    with pytest.raises(LokrWeightingError, match="holds gains with seed = 0"):
        read_calibration(tmp_path / "b")
