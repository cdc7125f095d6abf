import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from diffusers import SD3Transformer2DModel
from safetensors.torch import load_file

from tests.merged_by_this_lycoris import KINDS
from tests.targets.adapter.made import assert_the_same, changes_in

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("lycoris", ["3.2.0", "3.4.0", version("lycoris-lora")])
def test_files_of_every_lycoris_are_read_exactly(lycoris: str, tmp_path: Path) -> None:
    """`make test` installs the old versions."""
    path = [str(ROOT), str(ROOT / "src")]
    if lycoris != version("lycoris-lora"):
        folder = ROOT / ".lycoris" / lycoris
        assert folder.is_dir(), f"LyCORIS {lycoris} is not installed in {folder}: run `make test`"
        path.insert(0, str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "tests.merged_by_this_lycoris", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == lycoris
    model = SD3Transformer2DModel.from_pretrained(tmp_path / "model")
    for kind in KINDS:
        merged = {
            name: each.double() for name, each in load_file(tmp_path / f"{kind}.changes").items()
        }
        assert_the_same(changes_in(tmp_path / f"{kind}.safetensors", model), merged)
