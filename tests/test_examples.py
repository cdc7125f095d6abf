"""The example configurations are what the commands in their README write today."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Run

EXAMPLES = Path(__file__).parent.parent / "example_configs" / "lycoris"


@pytest.mark.parametrize(
    ("name", "options"),
    [("sd3.5-large.json", ()), ("sd3.5-large-120M.json", ("--budget", "120M"))],
)
def test_lycoris_examples_are_current(
    cli: Callable[..., Run], tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    assert cli("plan", "--reference", "sd3.5-large", *options, "--output", name).code == 0
    assert json.loads((tmp_path / name).read_text()) == json.loads((EXAMPLES / name).read_text())
