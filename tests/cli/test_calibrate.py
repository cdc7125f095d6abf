import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lokr_weighting.records.store import RECORDS
from tests.inputs import command, records_in


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
