"""`calibrate`: measuring a model on the user's own images and captions."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.running import Run, jobs_of, run_calibration
from lokr_weighting.processes import is_main


def calibrate(
    model: options.PipelineModel,
    data: options.Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The calibration's folder.")
    ] = Path("calibration"),
    samples: options.Samples = None,
    max_samples: options.MaxSamples = 2048,
    seed: options.Seed = 0,
    resolution: options.Resolution = None,
    buckets: options.Buckets = False,
    crops: options.Crops = 1,
    budget: options.Budget = None,
    blocks: options.Blocks = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    offload: options.OffloadMode = "none",
    quantization: options.Quantization = None,
    similarity: options.Similarity = False,
    gradients: options.Gradients = False,
    revision: options.Revision = None,
    captions: options.Captions = None,
    frames: options.Frames = None,
    transformer: options.Transformer = None,
) -> None:
    """Measure a model on your images: distances of every block, kept in a folder.

    Interrupted, it resumes when run again; finished, it is reused. Under `accelerate launch -m
    lokr_weighting` every process takes its share.
    """
    job = options.read_job(
        model=model,
        data=data,
        seed=seed,
        resolution=resolution,
        buckets=buckets,
        crops=crops,
        dtype=dtype,
        revision=revision,
        quantization=quantization,
        captions=captions,
        frames=frames,
    )
    chosen = options.read_recipe(recipe, settings)
    from lokr_weighting.measure.stop import Stop

    for each, folder in jobs_of(job, transformer, output):
        calibration, _ = run_calibration(
            each,
            folder,
            Run(device, offload, similarity, gradients),
            recipe=chosen,
            budget=budget,
            blocks=blocks,
            stop=Stop(samples=samples, most=max_samples),
        )
        if is_main():
            typer.echo(
                f"Wrote {folder}: {len(calibration.records)} samples. Plan with: "
                f"lokr-weighting plan --calibration {shlex.quote(str(folder))} "
                f"--model {shlex.quote(job.model)}"
            )
