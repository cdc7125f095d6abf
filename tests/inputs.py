"""What several tests start from: a short job, its command, a records file, a folder of digits."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from lokr_weighting import Job, Stop
from lokr_weighting.records.store import RECORDS

SCRIPTS = Path(__file__).parents[1] / "scripts"
SHORT = Stop(samples=20)


def job(pipeline: Path, images: Path, **options: Any) -> Job:
    return Job(str(pipeline), images, **{"resolution": 64, **options})


def command(pipeline: Path, images: Path, output: Path, samples: int) -> list[str]:
    """Python's arguments for a calibration in a process of its own."""
    arguments = ["--model", pipeline, "--data", images, "--output", output, "--similarity"]
    arguments += ["--resolution", 64, "--samples", samples]
    return ["-m", "lokr_weighting", "calibrate", *map(str, arguments)]


def records_in(folder: Path) -> bytes:
    """The records file of a calibration."""
    return (folder / RECORDS).read_bytes()


def write_records(path: Path, blocks: int = 38, count: int = 40) -> None:
    """A records file of SD3.5-Large's number of blocks."""
    rng = np.random.default_rng(0)
    level = rng.uniform(0.02, 0.3, blocks)
    with path.open("w") as file:
        for t in (np.arange(count) + 0.5) / count:
            image = level + rng.uniform(0, 0.01, blocks)
            record = {
                "timestep": t,
                "hidden_states": image.tolist(),
                "encoder_hidden_states": image[:-1].tolist(),
            }
            file.write(json.dumps(record) + "\n")


def write_digits(folder: Path, count: int, *options: str) -> Path:
    """Images of handwritten digits with captions, by the script that makes them."""
    script = [sys.executable, str(SCRIPTS / "digits_images.py"), str(folder)]
    subprocess.run([*script, "--count", str(count), *options], check=True)
    return folder


def imported(file: Path) -> ModuleType:
    """A script that lies in no package, as a module, with the scripts beside it to import."""
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    spec = importlib.util.spec_from_file_location(f"script_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
