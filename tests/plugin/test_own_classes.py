"""The class names that a LyCORIS configuration may ask for, held against SimpleTuner's own."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from lokr_weighting.models.known import SHIPPED, load_skeleton
from lokr_weighting.models.table import checkpoints
from lokr_weighting.models.trainers import SIMPLETUNER_VERSION, as_in
from tests.plugin.runs import environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("own") / "classes.json"
    script = Path(__file__).parent / "own_classes.py"
    subprocess.run([sys.executable, str(script), str(file)], env=environment(), check=True)
    return json.loads(file.read_text())


@pytest.mark.parametrize("name", (*SHIPPED, *checkpoints()))
def test_every_modules_class_is_the_one_that_simpletuner_makes(
    name: str, real: dict[str, Any]
) -> None:
    assert version("simpletuner") == SIMPLETUNER_VERSION
    model = as_in(load_skeleton(name), "simpletuner")
    assert model is not None
    own = {path: [each.class_name, {**each.arguments}] for path, each in model.named_modules()}
    assert json.loads(json.dumps(own)) == real[name]
