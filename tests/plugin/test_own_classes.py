"""The class names that a LyCORIS configuration may ask for, held against SimpleTuner's own."""

import json
from importlib.metadata import version
from typing import Any

import pytest

from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.trainers import SIMPLETUNER_VERSION, as_in
from tests.plugin.own_classes import EMPTY, KNOWN
from tests.plugin.runs import told_by

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return told_by("own_classes.py", tmp_path_factory.mktemp("own"))


@pytest.mark.parametrize("name", KNOWN)
def test_every_modules_class_is_the_one_that_simpletuner_makes(
    name: str, real: dict[str, Any]
) -> None:
    assert version("simpletuner") == SIMPLETUNER_VERSION
    model = as_in(load_skeleton(name), "simpletuner")
    assert model is not None
    own = {path: [each.class_name, {**each.arguments}] for path, each in model.named_modules()}
    empty = EMPTY.get(name.partition("-")[0], ())
    found, expected = (
        {path: each for path, each in modules.items() if not path.endswith(empty)}
        for modules in (json.loads(json.dumps(own)), real[name])
    )
    assert found == expected
