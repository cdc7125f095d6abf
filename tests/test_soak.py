"""A few disturbances of the soak script, whose hundreds are run by hand (docs/soak.md)."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "soak.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the script counts on Linux's signals")
def test_a_few_disturbed_commands_are_resumed_exactly() -> None:
    command = [sys.executable, str(SCRIPT), "--only", "convert", "--kills", "8", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("convert  "))
    tried = int(row.split()[-1].partition("/")[2])
    assert tried >= 8
    assert row.endswith(f"{tried}/{tried}")
