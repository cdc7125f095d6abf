from importlib.metadata import version
from pathlib import Path

import pytest
from diffusers import SD3Transformer2DModel
from safetensors.torch import load_file

from tests.merged_by_this_lycoris import KINDS
from tests.targets.adapter.made import assert_the_same, changes_in
from tests.targets.other_lycoris import told_on


@pytest.mark.slow
@pytest.mark.parametrize("lycoris", ["3.2.0", "3.4.0", version("lycoris-lora")])
def test_files_of_every_lycoris_are_read_exactly(lycoris: str, tmp_path: Path) -> None:
    said = told_on(lycoris, "tests.merged_by_this_lycoris", str(tmp_path))
    assert said[-1] == lycoris
    model = SD3Transformer2DModel.from_pretrained(tmp_path / "model")
    for kind in KINDS:
        merged = {
            name: each.double() for name, each in load_file(tmp_path / f"{kind}.changes").items()
        }
        assert_the_same(changes_in(tmp_path / f"{kind}.safetensors", model), merged)
