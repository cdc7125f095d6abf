"""Images for runs of SimpleTuner, and what rooms of the plugin make of its objects."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info < (3, 12):
    collect_ignore_glob = ["test_*.py", "web/test_*.py"]  # SimpleTuner needs Python 3.12

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 handwritten digits with captions."""
    folder = tmp_path_factory.mktemp("simpletuner_images")
    script = str(SCRIPTS / "digits_images.py")
    subprocess.run([sys.executable, script, str(folder), "--count", "24"], check=True)
    return folder


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What rooms.py finds, all in one process."""
    from tests.plugin.runs import environment

    file = tmp_path_factory.mktemp("rooms") / "found.json"
    script = str(Path(__file__).parent / "rooms.py")
    subprocess.run([sys.executable, script, str(file)], env=environment(), check=True)
    return json.loads(file.read_text())
