"""Ctrl-C and SIGTERM at a moment of the command's own work: its next import, or a rename."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PLAN = ("plan", "--reference", "sd3.5-large", "--no-read-back")
ENDS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}
SCRIPT = """
import os, sys
name, number, *arguments = sys.argv[1:]
def hook(event, given):
    if event == name.split()[0] and name.split()[1] in str(given[0]):
        os.kill(os.getpid(), int(number))
sys.addaudithook(hook)
sys.argv = ["lokr-weighting", *arguments]
from lokr_weighting.__main__ import main
main()
"""


def run_script(script: str, folder: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize(
    "moment",
    ["import lokr_weighting.cli", "import numpy", "import lokr_weighting.plan.make", "os.rename p"],
)
def test_stopped_at_any_moment_it_is_one_line_with_its_exit_code(
    moment: str, number: signal.Signals, tmp_path: Path
) -> None:
    done = run_script(SCRIPT, tmp_path, moment, int(number), *PLAN)
    code, word = ENDS[number]
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.strip() == (
        f"{word}: what was finished is kept, and the same command goes on: "
        f"lokr-weighting {' '.join(PLAN)}"
    )
    assert not list(tmp_path.iterdir())
    again = run_script(SCRIPT, tmp_path, "none none", 0, *PLAN)
    assert (again.returncode, again.stderr) == (0, "")


def test_one_that_python_can_only_ignore_ends_it_all_the_same(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from lokr_weighting.stopping import in_one_line\n"
        "class Dying:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        [None for _ in range(1000)]\n"
        "with in_one_line():\n"
        "    Dying()\n"
        "    print('went on')\n"
    )
    done = run_script(script, tmp_path)
    assert (done.returncode, done.stdout) == (130, "")
    assert "interrupted: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_second_one_does_not_wait(tmp_path: Path) -> None:
    script = (
        "import os, signal, time\n"
        "from lokr_weighting.stopping import in_one_line\n"
        "with in_one_line():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(60)\n"
    )
    done = run_script(script, tmp_path)
    assert (done.returncode, done.stderr.count("interrupted: ")) == (130, 1)
