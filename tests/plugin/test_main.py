import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.runs import MODULE, environment


def test_started_without_train_py_it_says_how_it_is_started() -> None:
    for arguments in ([], ["other.py"]):
        run = subprocess.run(
            [sys.executable, "-m", MODULE, *arguments],
            env=environment(),
            capture_output=True,
            text=True,
        )
        assert run.returncode == 2
        assert 'accelerate_extra_args="-m lokr_weighting_simpletuner"' in run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        ("OutputError('x: cannot be written')", 3, "lokr-weighting: x: cannot be written\n"),
        ("LokrWeightingError('x: is wrong')", 2, "lokr-weighting: x: is wrong\n"),
        ("KeyboardInterrupt", 130, "lokr-weighting: interrupted; the same command goes on\n"),
    ],
)
def test_what_ends_it_early_is_one_line_with_its_exit_code(
    raised: str, code: int, said: str, tmp_path: Path
) -> None:
    script = f"from lokr_weighting.errors import LokrWeightingError, OutputError\nraise {raised}\n"
    (tmp_path / "train.py").write_text(script)
    run = subprocess.run(
        [sys.executable, "-m", MODULE, str(tmp_path / "train.py")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == code
    # before it stands what torch warns of as it is imported
    assert run.stderr.endswith(said)
    assert "Traceback" not in run.stderr
