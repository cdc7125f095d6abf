import gzip
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lokr_weighting.cli import COMMANDS
from tests.conftest import Run
from tests.inputs import write_records

Cli = Callable[..., Run]


def refused_in_one_line(run: Run, message: str) -> None:
    assert run.code == 2
    assert message in run.err
    assert run.err.startswith("error: ")
    assert run.err.count("\n") == 1


@pytest.mark.parametrize("command", ["", *(each.__name__ for each in COMMANDS)])
def test_help_answers_without_importing_torch_or_numpy(command: str) -> None:
    script = (
        "import sys\n"
        f"sys.argv = ['lokr-weighting', *'{command}'.split(), '--help']\n"
        "from lokr_weighting.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    assert not {'torch', 'diffusers', 'lycoris', 'peft', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (command or "verify") in done.stdout
    assert "--help" in done.stdout


def test_importing_the_package_does_not_import_torch() -> None:
    script = "import sys, lokr_weighting; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan"], "exactly one of --records, --calibration, --heatmaps"),
        (["plan", "--reference", "sd9"], "shipped: sd3.5-large"),
        (["plan", "--records", "no.jsonl", "--model", "sd3.5-large"], "no.jsonl: there is no such"),
        (["plan", "--records", "bad.jsonl", "--model", "sd3.5-large"], "bad.jsonl:2: "),
        (["plan", "--records", "few.jsonl", "--model", "sd3.5-large"], "do not fill 10 bins"),
        (["plan", "--records", "good.jsonl"], "give --model"),
        (["plan", "--records", "good.jsonl", "--model", "sd3.5-medium"], "has 38 blocks, but"),
        (["plan", "--records", "good.jsonl", "--model", "nothing"], "no such folder"),
        (["plan", "--reference", "sd3.5-large", "--budget", "1M"], "at least 5,958,456"),
        (["plan", "--reference", "sd3.5-large", "--set", "factor=3"], "unknown key 'factor'"),
        (["plan", "--reference", "sd3.5-large", "--set", "max_factor"], "write NAME=VALUE"),
        (["plan", "--reference", "sd3.5-large", "--set", "max_factor=0"], "max_factor = 0"),
        (["plan", "--reference", "sd3.5-large", "--set", "bins=5"], "already averaged"),
        (["plan", "--reference", "sd3.5-large", "--recipe", "bad.jsonl"], "bad.jsonl:2: not valid"),
        (["plan", "--reference", "sd3.5-large", "--output", "."], "is a folder"),
        (["verify", "no.json", "--model", "sd3.5-large"], "no.json: there is no such file"),
        (["verify", "list.json", "--model", "sd3.5-large"], "holds a JSON list"),
        (["inspect", "list.json", "--model", "sd3.5-large"], "holds a JSON list"),
        (["heatmaps", "bad.jsonl"], "bad.jsonl:2: "),
    ],
)
def test_a_mistake_is_one_clear_line_exit_code_2_and_nothing_written(
    cli: Cli, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_records(tmp_path / "good.jsonl")
    write_records(tmp_path / "few.jsonl", count=4)
    lines = (tmp_path / "good.jsonl").read_text().splitlines()
    (tmp_path / "bad.jsonl").write_text(f"{lines[0]}\n{lines[1][:50]}")
    (tmp_path / "list.json").write_text("[]")
    before = sorted(tmp_path.iterdir())
    run = cli(*arguments)
    refused_in_one_line(run, message)
    assert run.out == ""
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["heatmaps", "thin.jsonl"], "thin.jsonl:3: hidden_states has 37 blocks, the lines before"),
        (["heatmaps", "nulls.jsonl"], "nulls.jsonl:2: encoder_hidden_states is null in other"),
        (["heatmaps", "deep.jsonl"], "deep.jsonl:1: the whole: invalid JSON: recursion limit"),
        (["heatmaps", "digits.jsonl"], "digits.jsonl:1: the whole: invalid JSON: number out"),
        (["heatmaps", "cut.jsonl.gz"], "cut.jsonl.gz: cannot be read after line"),
        (["heatmaps", "harmed.jsonl.gz"], "harmed.jsonl.gz: cannot be read after line"),
        (["heatmaps", "none.jsonl.bz2"], "none.jsonl.bz2: cannot be read after line 0"),
        (["heatmaps", "folder"], "folder: this is a folder; a records file is wanted"),
        (["plan", "--calibration", "good.jsonl"], "good.jsonl: holds no calibration"),
        (["plan", "--heatmaps", "folder", "--model", "sd3.5-large"], "folder: this is a folder"),
        (["plan", "--heatmaps", "deep.json", "--model", "sd3.5-large"], "64 levels deep"),
        (["verify", "deep.json", "--model", "sd3.5-large"], "64 levels deep"),
        (["verify", "digits.json", "--model", "sd3.5-large"], "a number of 5000 digits"),
        (["plan", "--records", "n" * 300, "--model", "sd3.5-large"], "File name too long"),
        (["heatmaps", "good.jsonl", "--output", "n" * 300], "File name too long"),
        (["report", "--reference", "sd3.5-large", "--plan", "digits.json"], "of 5000 digits"),
    ],
)
def test_what_no_reader_can_read_is_one_line_that_names_it(
    cli: Cli, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_records(tmp_path / "good.jsonl")
    lines = (tmp_path / "good.jsonl").read_bytes().splitlines(keepends=True)
    records = [json.loads(line) for line in lines[:3]]
    records[2]["hidden_states"].pop()
    (tmp_path / "thin.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    records[1]["encoder_hidden_states"][4] = None
    (tmp_path / "nulls.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    deep, digits = "[" * 3000 + "]" * 3000, "1" * 5000
    (tmp_path / "deep.jsonl").write_text(f'{{"x": {deep}}}\n')
    (tmp_path / "digits.jsonl").write_text(f'{{"timestep": {digits}}}\n')
    (tmp_path / "deep.json").write_text(f'{{"x": {deep}}}')
    (tmp_path / "digits.json").write_text(f'{{"linear_dim": {digits}}}')
    packed = gzip.compress(b"".join(lines))
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    harmed = bytearray(packed)
    harmed[40:400] = b"\xff" * 360
    (tmp_path / "harmed.jsonl.gz").write_bytes(harmed)
    (tmp_path / "none.jsonl.bz2").write_bytes(b"BZh9 no")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    run = cli(*arguments)
    refused_in_one_line(run, message)
    assert sorted(tmp_path.iterdir()) == before


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


def test_version_is_printed(cli: Cli) -> None:
    assert cli("--version").out.strip() == "0.2.0"
