"""How long short commands take as a whole, beside importing the libraries that a read-back needs.

Run: python benchmarks/startup.py
     python benchmarks/startup.py --before FOLDER   (a checkout of another version, beside this one)

Each round runs every command once, in turn, so that what else the machine does falls on all alike.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 7
SOURCES = Path(__file__).parents[1] / "src"
PLAN = ("-m", "lokr_weighting", "plan", "--reference", "sd3.5-large", "--force")
COMMANDS: dict[str, tuple[str, ...]] = {
    "import torch, lycoris": ("-c", "import torch, lycoris"),
    "plan": PLAN,
    "plan --no-read-back": (*PLAN, "--no-read-back"),
    "--help": ("-m", "lokr_weighting", "--help"),
    "generate --help": ("-m", "lokr_weighting", "generate", "--help"),
}
FLOOR = "import torch, lycoris"


def seconds(arguments: tuple[str, ...], sources: Path, folder: Path) -> float:
    """How long a command takes, as a process of its own."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(sources)},
        capture_output=True,
        check=True,
    )
    return time.perf_counter() - start


def main() -> None:
    """Print each command's median, and its ratio to the imports' median of the same rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout of another version")
    before = parser.parse_args().before
    runs = {name: (arguments, SOURCES) for name, arguments in COMMANDS.items()}
    if before is not None:
        there = before.resolve() / "src"
        runs |= {
            f"{name} ({before.name})": (arguments, there)
            for name, arguments in COMMANDS.items()
            if name not in (FLOOR, "plan --no-read-back")
        }
    with tempfile.TemporaryDirectory() as folder:
        for arguments, sources in runs.values():
            seconds(arguments, sources, Path(folder))  # byte code is written, files are read
        taken = {name: list[float]() for name in runs}
        for _ in range(ROUNDS):
            for name, (arguments, sources) in runs.items():
                taken[name].append(seconds(arguments, sources, Path(folder)))
    floor = statistics.median(taken[FLOOR])
    for name, times in taken.items():
        median = statistics.median(times)
        print(
            f"{name:32} median {median:6.2f} s ({min(times):.2f} to {max(times):.2f}), "
            f"{median / floor:5.2f} times {FLOOR}"
        )


if __name__ == "__main__":
    main()
