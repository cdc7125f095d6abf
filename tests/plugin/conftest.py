"""Images for runs of SimpleTuner."""

import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 12):
    collect_ignore_glob = ["test_*.py"]  # SimpleTuner needs Python 3.12

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 handwritten digits with captions."""
    folder = tmp_path_factory.mktemp("simpletuner_images")
    script = str(SCRIPTS / "digits_images.py")
    subprocess.run([sys.executable, script, str(folder), "--count", "24"], check=True)
    return folder
