import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("lycoris", ["3.2.0", "3.4.0", version("lycoris-lora")])
def test_a_plan_takes_effect_exactly_on_every_lycoris(lycoris: str) -> None:
    """SD3, SD3.5 with dual attention, Flux and AuraFlow, and what Sana has of convolutions.

    `make test` installs the old versions.
    """
    path = [str(ROOT), str(ROOT / "src")]
    if lycoris != version("lycoris-lora"):
        folder = ROOT / ".lycoris" / lycoris
        assert folder.is_dir(), f"LyCORIS {lycoris} is not installed in {folder}: run `make test`"
        path.insert(0, str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "tests.exact_on_this_lycoris"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "version": lycoris,
        "sd3.5-large": True,
        "sd3-medium": True,
        "sd3.5-medium": True,
        "flux.1-dev": True,
        "auraflow-v0.3": True,
        # those take a grouped convolution for one without groups, and cannot run it
        "not as planned": [] if lycoris == version("lycoris-lora") else ["conv_depth"],
        "published": [178, 1_123_057_848],
        "unread": ["full_matrx"],
    }
