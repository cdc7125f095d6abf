"""Run the study of docs/does-it-help.md: plans at one budget, on two models and several tasks.

    python benchmarks/study/run.py --list
    python benchmarks/study/run.py shapes-style-6 --work FOLDER

Each cell of the study is one comparison, as `lokr-weighting compare` makes it: the same command
goes on where it was stopped, and it may be run under `accelerate launch`. Pictures are drawn into
`FOLDER/pictures`, comparisons go to `FOLDER/CELL`. What a cell gave is kept in
`benchmarks/study/results/CELL.json`, from which `tables.py` makes every table and figure again
without training; `--keep-unfinished` keeps the trainings that a cell has so far.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lokr_weighting.files import write_json
from lokr_weighting.measure.job import Job
from lokr_weighting.processes import is_main, joined
from lokr_weighting.studies.ablate import ablate_folder
from lokr_weighting.studies.ablation import Ablation, read_ablation, write_ablation
from lokr_weighting.studies.compare import RUNS, compare_folder
from lokr_weighting.studies.comparison import Setup
from lokr_weighting.studies.training import parts_of

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "scripts"
RESULTS = HERE / "results"
SHAPES = HERE / "shapes" / "pipeline"
DIGITS = 6  # of a loss that is kept
ABLATION_SAMPLES = 100

PLANS = (
    "uniform",
    "weighted",
    "inverse",
    "random",
    "later",
    "gradient",
    "mild-0.5",
    "streams",
    "gradient-norm",
    "ablation",
    "no-critical",
    "one-for-all",
    "last-token",
    "even-streams",
    "no-clip",
    "earlier",
)


@dataclass(frozen=True)
class Cell:
    """One comparison of the study.

    Attributes:
        model: the pipeline.
        pictures: the script that draws the task's pictures, and its options.
        base: the same for pictures of what the model knew before.
        budget: of every plan.
        text_tokens: a caption's length.
        steps: of a training.
    """

    model: str
    pictures: tuple[str, ...]
    base: tuple[str, ...]
    budget: str
    text_tokens: int
    steps: int

    @property
    def setup(self) -> Setup:
        """The comparison's settings."""
        return Setup(
            plans=PLANS,
            budget=self.budget,
            steps=self.steps,
            batch=8,
            seeds=5,
            rates=(6e-3, 2e-2, 6e-2),
            samples=320,
            held_out=0.3,
            draws=2,
            text_tokens=self.text_tokens,
        )


def _shapes(task: str, budget: int) -> Cell:
    draw = "shapes_images.py", "--count", "200", "--seed", "1"
    base = "shapes_images.py", "--count", "60", "--seed", "2"
    return Cell(str(SHAPES), (*draw, "--task", task), base, f"uniform:{budget}", 20, 120)


def _digits(option: str, budget: int) -> Cell:
    draw = "digits_images.py", "--count", "200", "--seed", "1"
    base = "digits_images.py", "--count", "60", "--seed", "2"
    return Cell("digits", (*draw, option), base, f"uniform:{budget}", 16, 120)


CELLS = {
    **{
        f"shapes-{task}-{budget}": _shapes(task, budget)
        for task in ("style", "concept", "combination")
        for budget in (6, 4)
    },
    **{f"digits-inverted-{budget}": _digits("--invert", budget) for budget in (6, 4)},
}
"""A name to type -> the comparison. The number is the budget's uniform factor."""


def main() -> None:
    """Run one cell, or go on with it, and keep what it gave."""
    parser = argparse.ArgumentParser(description="Run one cell of the study.")
    parser.add_argument("cell", nargs="?", choices=CELLS)
    parser.add_argument("--work", type=Path, default=Path("study"))
    parser.add_argument("--list", action="store_true", help="show the cells")
    parser.add_argument(
        "--keep-unfinished", action="store_true", help="keep finished trainings; train nothing"
    )
    arguments = parser.parse_args()
    if arguments.list or arguments.cell is None:
        sys.stdout.writelines(f"{name}: {cell}\n" for name, cell in CELLS.items())
        return
    cell, output = CELLS[arguments.cell], arguments.work / arguments.cell
    if arguments.keep_unfinished:
        _keep(arguments.cell, output, None)
        return
    pictures = _drawn(arguments.work, cell.pictures)
    job = Job(cell.model, pictures, text_tokens=cell.text_tokens)
    comparison = compare_folder(
        job,
        output,
        cell.setup,
        keep=_drawn(arguments.work, cell.base),
        ablation=_ablated(job, cell.setup, output.with_name(f"{arguments.cell}.ablation.json")),
    )
    if is_main():
        _keep(arguments.cell, output, comparison.as_json())


def _drawn(work: Path, command: tuple[str, ...]) -> Path:
    """The folder of pictures that a command draws, drawn if it is not there."""
    script, *options = command
    name = "_".join([script.partition("_")[0], *(each.strip("-") for each in options)])
    folder = work / "pictures" / name
    if not folder.exists():
        subprocess.run([sys.executable, str(SCRIPTS / script), str(folder), *options], check=True)
    return folder


def _ablated(job: Job, setup: Setup, file: Path) -> Ablation:
    """What skipping each block costs on the pictures that are trained on."""
    if not file.exists():
        prepared = job.prepare(setup.recipe.bins, joined(None)[1])
        trained, _ = parts_of(prepared.images, setup.held_out, job.seed)
        write_ablation(file, ablate_folder(prepared.on(trained), samples=ABLATION_SAMPLES))
    return read_ablation(file)


def _keep(name: str, output: Path, comparison: dict[str, Any] | None) -> None:
    """Write a cell's results with every training's losses, rounded, to one file."""
    runs = [_rounded(json.loads(file.read_text())) for file in sorted((output / RUNS).iterdir())]
    setup = json.loads((output / "setup.json").read_text())
    ablation = json.loads(output.with_name(f"{name}.ablation.json").read_text())
    RESULTS.mkdir(exist_ok=True)
    write_json(
        RESULTS / f"{name}.json",
        {"setup": setup, "comparison": comparison, "ablation": ablation, "runs": runs},
    )


def _rounded(run: dict[str, Any]) -> dict[str, Any]:
    """A training's file with as many digits of every loss as matter."""
    losses = {
        key: [None if loss is None else float(f"{loss:.{DIGITS}g}") for loss in run[key]]
        for key in ("losses", "kept")
    }
    return run | losses


if __name__ == "__main__":
    main()
