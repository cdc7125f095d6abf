"""Terminals, pipes and disks that do not take what is written."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

from tests.inputs import write_records


def shell(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    start = f"{shlex.quote(sys.executable)} -m lokr_weighting"
    return subprocess.run(
        command.format(lw=start),
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


def test_standard_output_that_cannot_be_written_is_one_line_and_exit_code_3(
    tmp_path: Path,
) -> None:
    write_records(tmp_path / "r.jsonl")
    done = shell("{lw} heatmaps r.jsonl > /dev/full", tmp_path)
    assert done.returncode == 3
    assert done.stderr == "error: standard output: No space left on device\n"


def test_a_full_disk_is_exit_code_3_and_leaves_no_half_file(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl")
    # a limit on files' sizes stands in for the disk's
    done = shell("trap '' XFSZ; ulimit -f 1; {lw} heatmaps r.jsonl", tmp_path)
    assert (done.returncode, done.stderr) == (
        3,
        "error: heatmaps.json: cannot be written: File too large\n",
    )
    assert [each.name for each in tmp_path.iterdir()] == ["r.jsonl"]


def test_names_and_letters_that_a_terminal_cannot_show_do_not_stop_it(tmp_path: Path) -> None:
    name = os.fsdecode(b"r\xff.jsonl")
    write_records(tmp_path / name)
    done = shell("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {lw} heatmaps r*.jsonl", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = shell(
        "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {lw} plan --records r*.jsonl "
        "--model sd3.5-large --no-read-back",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xb1" in done.stdout  # plus-minus
