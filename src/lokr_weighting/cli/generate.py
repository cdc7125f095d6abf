"""`generate`: the whole job, from images to a configuration that was read back."""

from lokr_weighting.cli import options
from lokr_weighting.cli.running import Run, run_calibration
from lokr_weighting.cli.writing import Goal, write
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.processes import is_main
from lokr_weighting.targets.registry import FORMATS


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
    as_json: options.Json = False,
) -> None:
    """The whole job: measure your images, plan, write the configuration, read it back.

    The calibration is kept beside the configuration (NAME.calibration) and reused.
    """
    goal = Goal(FORMATS[target], output, template, force=force, as_json=as_json)
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
    from lokr_weighting.measure.stop import Stop

    calibrated = goal.path.with_suffix(".calibration")
    calibration, settled = run_calibration(
        job,
        calibrated,
        Run(device, offload, similarity, gradients),
        recipe=chosen,
        budget=budget,
        stop=Stop(samples=samples, most=max_samples),
    )
    if not is_main():
        return
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.models.loading import pipeline_folder
    from lokr_weighting.plan.make import make_plan
    from lokr_weighting.records.store import SUMMARY

    skeleton = load_skeleton(str(pipeline_folder(job.model, job.revision)))
    plan = make_plan(
        calibration,
        skeleton,
        recipe=chosen,
        budget=budget,
        name=job.model,
        settled=settled,
        added=added,
    )
    write(plan, skeleton, goal, calibrated / SUMMARY)
