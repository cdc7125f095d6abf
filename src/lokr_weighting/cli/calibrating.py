"""Measuring a model on the user's own images and captions."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.writing import Goal, write
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.processes import is_main

if TYPE_CHECKING:
    from lokr_weighting.calibration import Calibration
    from lokr_weighting.data.dataset import Job
    from lokr_weighting.recipe import Recipe
    from lokr_weighting.settle import Settled

INTERRUPTED = 130

PipelineModel = Annotated[
    str,
    typer.Option(
        "--model",
        help="A local diffusers pipeline folder, a hub id, or 'digits' (the small model that "
        "comes with the package).",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        help="A folder of images with captions: same-named .txt files, metadata.jsonl or "
        "metadata.csv, or none."
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(help="Measure exactly so many samples; by default until the plan is settled."),
]
MaxSamples = Annotated[int, typer.Option(help="Stop here even if the plan is not settled.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides every random choice.")]
Resolution = Annotated[
    int | None,
    typer.Option(help="Side of the square crops in pixels; by default the model's own."),
]
Buckets = Annotated[
    bool, typer.Option("--buckets", help="Crop to aspect-ratio buckets instead of squares.")
]
Crops = Annotated[int, typer.Option(min=1, help="Different crops of each image.")]
Dtype = Annotated[
    str | None,
    typer.Option(help="float32, bfloat16 or float16; by default bfloat16, on a CPU float32."),
]
Device = Annotated[str | None, typer.Option(help="cuda, cuda:1, cpu; by default a GPU if any.")]
OffloadMode = Annotated[
    Literal["none", "group", "sequential"],
    typer.Option(help="For a transformer larger than the GPU: bring its parts when needed."),
]
Quantization = Annotated[
    Path | None,
    typer.Option(help='A JSON file: "backend" and arguments of diffusers\' quantization config.'),
]
Similarity = Annotated[
    bool,
    typer.Option(
        "--similarity",
        help="Gather the similarity of every pair of blocks in the same pass, for the command "
        "similarity and for the report.",
    ),
]
Revision = Annotated[str | None, typer.Option(help="Revision of a hub id.")]


def calibrate(
    model: PipelineModel,
    data: Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The calibration's folder.")
    ] = Path("calibration"),
    samples: Samples = None,
    max_samples: MaxSamples = 2048,
    seed: Seed = 0,
    resolution: Resolution = None,
    buckets: Buckets = False,
    crops: Crops = 1,
    budget: options.Budget = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    dtype: Dtype = None,
    device: Device = None,
    offload: OffloadMode = "none",
    quantization: Quantization = None,
    similarity: Similarity = False,
    revision: Revision = None,
) -> None:
    """Measure a model on your images: distances of every block, kept in a folder.

    Interrupted, it resumes when run again; finished, it is reused. Under `accelerate launch -m
    lokr_weighting` every process takes its share.
    """
    job = job_of(model, data, seed, resolution, buckets, crops, dtype, revision, quantization)
    chosen = options.read_recipe(recipe, settings)
    found, _ = _run(job, output, chosen, budget, samples, max_samples, device, offload, similarity)
    if is_main():
        typer.echo(
            f"Wrote {output}: {len(found.records)} samples. Plan with: "
            f"lokr-weighting plan --calibration {shlex.quote(str(output))} "
            f"--model {shlex.quote(job.model)}"
        )


def generate(
    model: PipelineModel,
    data: Data,
    output: options.Output = None,
    target: options.TargetFormat = "lycoris",
    samples: Samples = None,
    max_samples: MaxSamples = 2048,
    seed: Seed = 0,
    resolution: Resolution = None,
    buckets: Buckets = False,
    crops: Crops = 1,
    budget: options.Budget = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    template: options.Template = None,
    force: options.Force = False,
    dtype: Dtype = None,
    device: Device = None,
    offload: OffloadMode = "none",
    quantization: Quantization = None,
    similarity: Similarity = False,
    revision: Revision = None,
    as_json: options.Json = False,
) -> None:
    """The whole job: measure your images, plan, write the configuration, read it back.

    The calibration is kept beside the configuration (NAME.calibration) and reused.
    """
    goal = Goal(target, output, template, force, as_json)
    goal.check()
    job = job_of(model, data, seed, resolution, buckets, crops, dtype, revision, quantization)
    chosen = options.read_recipe(recipe, settings)
    folder = goal.path.with_suffix(".calibration")
    found, _ = _run(job, folder, chosen, budget, samples, max_samples, device, offload, similarity)
    if not is_main():
        return
    from lokr_weighting.architectures import empty_transformer
    from lokr_weighting.data.loading import pipeline_folder

    transformer = empty_transformer(str(pipeline_folder(job.model, job.revision)))
    write(found, transformer, job.model, chosen, budget, goal)


def job_of(
    model: str,
    data: Path,
    seed: int,
    resolution: int | None,
    buckets: bool,
    crops: int,
    dtype: str | None,
    revision: str | None,
    quantization: Path | None,
) -> "Job":
    """The calibration job that the options describe.

    Raises:
        LokrWeightingError: the data is no folder, or the quantization file cannot be read.
    """
    from lokr_weighting.files import read_json

    arguments = read_json(quantization) if quantization else None
    if not data.is_dir():
        what = "is a file" if data.exists() else "there is no such folder"
        raise LokrWeightingError(f"{data}: {what}; a folder of images is wanted")
    from lokr_weighting.data.dataset import Job

    return Job(model, data, seed, resolution, buckets, crops, dtype, revision, arguments)


def _run(
    job: "Job",
    folder: Path,
    recipe: "Recipe",
    budget: str | None,
    samples: int | None,
    max_samples: int,
    device: str | None,
    offload: Any,
    similarity: bool,
) -> "tuple[Calibration, Settled | None]":
    """Calibrate with a progress bar; an interruption says how to go on."""
    from lokr_weighting.calibrating import calibrate_folder
    from lokr_weighting.cli.progress import Bar, quiet_libraries
    from lokr_weighting.collect import Stop

    quiet_libraries()
    stop = Stop(samples=samples, most=max_samples)
    try:
        with Bar(enabled=is_main()) as bar:
            found, settled = calibrate_folder(
                job, folder, recipe, budget, stop, device, offload, similarity, bar.update, bar.say
            )
    except KeyboardInterrupt:
        command = shlex.join(["lokr-weighting", *sys.argv[1:]])
        typer.echo(
            f"\ninterrupted: what was measured is kept in {folder}; resume with: {command}",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    if is_main():
        _say_how_settled(found, settled, stop.share)
    return found, settled


def _say_how_settled(found: "Calibration", settled: "Settled | None", share: float) -> None:
    for name, reason in found.skipped.items():
        typer.echo(f"skipped {name}: {reason}", err=True)
    for block, count in found.not_finite_by_block.items():
        typer.echo(f"{block}: NaN or Inf in {count} samples, which were left out", err=True)
    if settled is None:
        return
    verdict = "settled" if settled.near >= share else "NOT settled"
    typer.echo(
        f"{len(found.records)} samples; the plan is {verdict}: {settled.same:.0%} of the resamples "
        f"give it, {settled.near:.0%} are within one split of it in every block.",
        err=True,
    )
