"""What a program says where it imports another version of LyCORIS."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]


def told_on(lycoris: str, module: str, *arguments: str) -> list[str]:
    """The lines that a module prints with that LyCORIS; `make test` installs the old versions."""
    path = [str(ROOT), str(ROOT / "src")]
    if lycoris != version("lycoris-lora"):
        folder = ROOT / ".lycoris" / lycoris
        assert folder.is_dir(), f"LyCORIS {lycoris} is not installed in {folder}: run `make test`"
        path.insert(0, str(folder))
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
