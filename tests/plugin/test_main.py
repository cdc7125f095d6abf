import subprocess
import sys

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
