import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lokr_weighting.cli import COMMANDS
from tests.attacks.hostile import refused_in_one_line
from tests.conftest import Run
from tests.inputs import write_records

Cli = Callable[..., Run]


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


def test_version_is_printed(cli: Cli) -> None:
    assert cli("--version").out.strip() == "0.2.0"


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str, number: int) -> list[str]:
        asked = {"_LOKR_WEIGHTING_COMPLETE": "complete_bash", "COMP_WORDS": words}
        script = (
            "import sys; sys.argv = ['lokr-weighting']; from lokr_weighting.__main__ import main"
        )
        done = subprocess.run(
            [sys.executable, "-c", f"{script}; main()"],
            env=os.environ | asked | {"COMP_CWORD": str(number)},
            capture_output=True,
            text=True,
        )
        return done.stdout.split()

    assert {"similarity", "sizes"} <= {*completed("lokr-weighting s", 1)}
    assert "--budget" in completed("lokr-weighting plan --b", 2)
