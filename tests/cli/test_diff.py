from collections.abc import Callable
from pathlib import Path

from lokr_weighting import calibrate_folder
from tests.conftest import Run
from tests.inputs import SHORT, job


def test_a_calibration_beside_itself_is_called_a_and_b(
    pipelines: Callable[[str], Path], images: Path, cli: Callable[..., Run], tmp_path: Path
) -> None:
    calibrate_folder(job(pipelines("flux"), images), tmp_path / "c", stop=SHORT)
    run = cli("diff", "c", "c")
    assert run.code == 0, run.err
    assert "A: c, 20 samples" in run.out
    assert "B: c, 20 samples" in run.out
    assert "The plans are the same, split for split." in run.out
