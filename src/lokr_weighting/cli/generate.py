"""`generate`: the whole job, from images to a configuration that was read back."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lokr_weighting.cli import options
from lokr_weighting.cli.running import Run, jobs_of, run_calibration
from lokr_weighting.cli.writing import Goal, write
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.experts import BOTH
from lokr_weighting.processes import is_main
from lokr_weighting.targets.registry import FORMATS

if TYPE_CHECKING:
    from lokr_weighting.measure.job import Job
    from lokr_weighting.models.skeleton import Skeleton
    from lokr_weighting.plan.added import Added
    from lokr_weighting.plan.recipe import Recipe
    from lokr_weighting.plan.settled import Settled
    from lokr_weighting.records.calibration import Calibration


def generate(
    model: options.PipelineModel,
    data: options.Data,
    output: options.Output = None,
    target: options.Target = "lycoris",
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
    template: options.Template = None,
    force: options.Force = False,
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
    as_json: options.Json = False,
) -> None:
    """The whole job: measure your images, plan, write the configuration, read it back.

    The calibration is kept beside the configuration (NAME.calibration) and reused.
    """
    goal = Goal(FORMATS[target], output, template, force=force, as_json=as_json)
    if transformer != BOTH:
        goal.check(data, quantization, options.file_of(recipe))
    added = goal.added()
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
    if chosen.name == "ablation":
        raise LokrWeightingError(
            "the recipe ablation needs two measurements: run calibrate and ablate, then plan "
            "--recipe ablation --ablation ablation.json"
        )
    if goal.format.linears is not None:
        # before anything is measured: the trainer may not know this model
        goal.linears(_skeleton(job))
    from lokr_weighting.measure.stop import Stop

    jobs = jobs_of(job, transformer, goal.path)
    goals = [replace(goal, output=path) for _, path in jobs]
    if as_json and len(jobs) > 1:
        raise LokrWeightingError("--json prints one plan: give --transformer one after the other")
    for each in goals:
        each.check(data, quantization, options.file_of(recipe))
    for (each, path), own in zip(jobs, goals, strict=True):
        calibrated = path.with_suffix(".calibration")
        calibration, settled = run_calibration(
            each,
            calibrated,
            Run(device, offload, similarity, gradients),
            recipe=chosen,
            budget=budget,
            blocks=blocks,
            stop=Stop(samples=samples, most=max_samples),
        )
        if is_main():
            measured = Measured(each, calibration, settled, calibrated)
            _write(measured, own, chosen, budget, blocks, added)


@dataclass(frozen=True)
class Measured:
    """What a job's calibration gave, and where it is kept."""

    job: "Job"
    calibration: "Calibration"
    settled: "Settled | None"
    folder: Path


def _write(
    measured: Measured,
    goal: Goal,
    recipe: "Recipe",
    budget: str | None,
    blocks: str | None,
    added: "Added",
) -> None:
    """Plan from a calibration, and write that."""
    from lokr_weighting.plan.make import make_plan
    from lokr_weighting.records.store import SUMMARY

    job = measured.job
    skeleton = _skeleton(job)
    plan = make_plan(
        measured.calibration,
        skeleton,
        recipe=recipe,
        budget=budget,
        blocks=blocks,
        name=job.model,
        settled=measured.settled,
        added=added,
        linears=goal.linears(skeleton),
    )
    write(plan, skeleton, goal, measured.folder / SUMMARY)


def _skeleton(job: "Job") -> "Skeleton":
    """The modules of a job's model."""
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.models.loading import pipeline_folder

    return load_skeleton(str(pipeline_folder(job.model, job.revision)))
