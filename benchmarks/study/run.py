"""Run the study of docs/does-it-help.md: plans at one budget, on two models and several tasks.

    python benchmarks/study/run.py --list
    python benchmarks/study/run.py shapes-style-6-main --work FOLDER

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

from lokr_weighting.data.folder import find_images
from lokr_weighting.data.samples import draw
from lokr_weighting.files import nulls, read_json
from lokr_weighting.measure.job import Job
from lokr_weighting.processes import is_main, joined
from lokr_weighting.records.reading import read_calibration
from lokr_weighting.studies.ablate import ablate_folder
from lokr_weighting.studies.ablation import Ablation
from lokr_weighting.studies.ablation_file import read_ablation, write_ablation
from lokr_weighting.studies.compare import CALIBRATION, RUNS, compare_folder
from lokr_weighting.studies.comparison import BINS, Setup
from lokr_weighting.studies.training import HELD_OUT_SEED, parts_of

HERE = Path(__file__).parent
SCRIPTS = HERE.parents[1] / "scripts"
RESULTS = HERE / "results"
SHAPES = HERE / "shapes" / "pipeline"
DIGITS = 6  # of a loss that is kept
ABLATION_SAMPLES = 100

MAIN = ("uniform", "weighted", "inverse", "random", "later", "gradient", "mild-0.5")
RECIPES = (
    "uniform",
    "weighted",
    "streams",
    "gradient-norm",
    "ablation",
    "no-critical",
    "one-for-all",
    "last-token",
    "even-streams",
    "no-clip",
)
LONG = ("uniform", "weighted", "inverse")


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
        plans: what is compared.
    """

    model: str
    pictures: tuple[str, ...]
    base: tuple[str, ...]
    budget: str
    text_tokens: int
    steps: int
    plans: tuple[str, ...]

    @property
    def setup(self) -> Setup:
        """The comparison's settings."""
        return Setup(
            plans=self.plans,
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


def _shapes(task: str, budget: int, steps: int, plans: tuple[str, ...]) -> Cell:
    draw = "shapes_images.py", "--count", "200", "--seed", "1", "--task", task
    base = "shapes_images.py", "--count", "60", "--seed", "2"
    return Cell(str(SHAPES), draw, base, f"uniform:{budget}", 20, steps, plans)


def _digits(option: str, budget: int, steps: int, plans: tuple[str, ...]) -> Cell:
    draw = "digits_images.py", "--count", "200", "--seed", "1", option
    base = "digits_images.py", "--count", "60", "--seed", "2"
    return Cell("digits", draw, base, f"uniform:{budget}", 16, steps, plans)


QUESTIONS = {"main": (120, MAIN), "recipe": (120, RECIPES), "long": (480, LONG)}
"""A cell's last name -> the steps of its trainings, and its plans."""

CELLS = {
    f"{name}-{budget}-{question}": make(task, budget, steps, plans)
    for question, (steps, plans) in QUESTIONS.items()
    for name, make, task in (
        ("shapes-style", _shapes, "style"),
        ("shapes-concept", _shapes, "concept"),
        ("shapes-combination", _shapes, "combination"),
        ("digits-inverted", _digits, "--invert"),
    )
    for budget in (6, 4)
}
"""A name to type -> the comparison. The number is the budget's uniform factor."""


def main() -> None:
    """Run one cell, or go on with it, and keep what it gave."""
    parser = argparse.ArgumentParser(description="Run one cell of the study.")
    parser.add_argument("cell", nargs="?", choices=CELLS)
    parser.add_argument("--work", type=Path, default=Path("study"))
    parser.add_argument("--list", action="store_true", help="show the cells")
    parser.add_argument(
        "--keep-unfinished", action="store_true", help="train nothing, keep what there is"
    )
    arguments = parser.parse_args()
    if arguments.list or arguments.cell is None:
        sys.stdout.writelines(f"{name}: {', '.join(cell.plans)}\n" for name, cell in CELLS.items())
        return
    cell, output = CELLS[arguments.cell], arguments.work / arguments.cell
    pictures = _drawn(arguments.work, cell.pictures)
    job = Job(cell.model, pictures, text_tokens=cell.text_tokens)
    if not arguments.keep_unfinished:
        compare_folder(
            job,
            output,
            cell.setup,
            keep=_drawn(arguments.work, cell.base),
            ablation=_ablated(job, cell.setup, _ablation_file(output)),
        )
    if is_main():
        RESULTS.mkdir(exist_ok=True)
        kept = json.dumps(_kept(output, job, cell.setup), separators=(",", ":"))
        (RESULTS / f"{arguments.cell}.json").write_text(kept + "\n", encoding="utf-8")


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


def _ablation_file(output: Path) -> Path:
    return output.with_name(f"{output.name}.ablation.json")


def _kept(output: Path, job: Job, setup: Setup) -> dict[str, Any]:
    """A cell's measurements, and every training's losses, rounded."""
    _, tested = parts_of(find_images(job.data), setup.held_out, job.seed)
    captions = [len(item.captions) for item in tested.items]
    drawn = [draw(HELD_OUT_SEED, index, BINS, captions) for index in range(setup.samples)]
    calibration = read_calibration(output / CALIBRATION)
    heatmaps, gains = calibration.heatmaps(), calibration.gains
    return {
        "setup": setup.model_dump(mode="json"),
        "images": [sample.image for sample in drawn],
        "timesteps": [round(sample.timestep, DIGITS) for sample in drawn],
        "blocks": list(calibration.blocks),
        "image": heatmaps.image.round(DIGITS).tolist(),
        "text": [nulls(row) for row in heatmaps.text.round(DIGITS)],
        "gradient_norms": {} if gains is None else gains.norms,
        "ablation": read_json(_ablation_file(output)) | {"model": output.name},
        "runs": [_rounded(read_json(file)) for file in sorted((output / RUNS).iterdir())],
    }


def _rounded(run: dict[str, Any]) -> dict[str, Any]:
    """A training's file with as many digits of every loss as matter."""
    losses = {
        key: [None if loss is None else float(f"{loss:.{DIGITS}g}") for loss in run[key]]
        for key in ("losses", "kept")
    }
    return run | losses


if __name__ == "__main__":
    main()
