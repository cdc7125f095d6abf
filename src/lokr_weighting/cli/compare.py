"""`compare`: plans compared by training with them."""

from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting import stopping
from lokr_weighting.cli import options
from lokr_weighting.cli.outputs import Output, check_folder, check_outputs, json_with
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.processes import is_main


def compare(
    model: options.PipelineModel,
    data: options.Data,
    plans: Annotated[
        str,
        typer.Option(
            help="Names, separated by commas: weighted, uniform, inverse, random, later, earlier, "
            "streams, gradient, gradient-norm, ablation, mild-0.5, lora, ... (docs/compare.md), or "
            "files of plans."
        ),
    ] = "weighted,uniform,inverse,random",
    reference: Annotated[str, typer.Option(help="The plan that others are set against.")] = (
        "uniform"
    ),
    budget: Annotated[
        str, typer.Option(help="As for plan; every plan is made at this size.")
    ] = "uniform:8",
    output: Annotated[Path, typer.Option("--output", "-o", help="The comparison's folder.")] = Path(
        "comparison"
    ),
    steps: Annotated[int, typer.Option(help="Optimizer steps of each training.")] = 200,
    batch: Annotated[int, typer.Option(help="Samples in each step.")] = 8,
    seeds: Annotated[
        int, typer.Option(help="Trainings of each plan; one more chooses its rate.")
    ] = 3,
    rates: Annotated[
        str, typer.Option(help="Learning rates to choose from, separated by commas.")
    ] = "2e-3,6e-3,2e-2",
    samples: Annotated[
        int, typer.Option(help="Held-out samples; half of them choose the rates.")
    ] = 160,
    held_out: Annotated[float, typer.Option(help="Share of the images that is held out.")] = 0.3,
    draws: Annotated[int, typer.Option(help="Draws of plans that are drawn at random.")] = 3,
    keep: Annotated[
        Path | None, typer.Option(help="A folder of images whose loss should not rise.")
    ] = None,
    ablation: Annotated[
        Path | None, typer.Option(help="An ablation.json, for the plan ablation.")
    ] = None,
    text_tokens: Annotated[
        int | None,
        typer.Option(help="Tokens that a caption is padded or cut to, as in your trainer."),
    ] = None,
    checkpointing: Annotated[
        bool,
        typer.Option("--gradient-checkpointing", help="Less memory, and a third more time."),
    ] = False,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    seed: options.Seed = 0,
    resolution: options.Resolution = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    quantization: options.Quantization = None,
    revision: options.Revision = None,
    captions: options.Captions = None,
    frames: options.Frames = None,
    transformer: options.OneTransformer = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Does a plan help on your images? Short trainings of several plans at one size, side by side.

    Interrupted, it resumes when run again; under `accelerate launch -m lokr_weighting` every
    process takes its share of the trainings.
    """
    job = options.read_job(
        model=model,
        data=data,
        seed=seed,
        resolution=resolution,
        dtype=dtype,
        revision=revision,
        quantization=quantization,
        captions=captions,
        frames=frames,
        transformer=transformer,
    )
    check_folder(output)
    advice = "holds files that are no comparison of lokr-weighting, so they may be your own"
    own = Output(output, lambda: _is_comparison(output), advice)
    check_outputs([own], [data, keep, quantization, ablation, options.file_of(recipe)], force)
    chosen = options.read_recipe(recipe, settings)
    from rich.progress import Progress

    from lokr_weighting.cli.progress import quiet_libraries
    from lokr_weighting.files import checked, write_json
    from lokr_weighting.show.comparison import comparison_table, write_comparison
    from lokr_weighting.show.console import console
    from lokr_weighting.studies.ablation_file import read_ablation
    from lokr_weighting.studies.compare import RESULT, RUNS, compare_folder
    from lokr_weighting.studies.comparison import Setup

    setup = checked(
        Setup,
        {
            "plans": tuple(name.strip() for name in plans.split(",")),
            "reference": reference,
            "budget": budget,
            "recipe": chosen,
            "steps": steps,
            "batch": batch,
            "seeds": seeds,
            "rates": _numbers(rates),
            "samples": samples,
            "held_out": held_out,
            "draws": draws,
            "text_tokens": text_tokens,
        },
        "compare",
    )
    quiet_libraries()
    try:
        with Progress(console=console(stderr=True), disable=not is_main()) as progress:
            task = progress.add_task("measuring", total=None)
            comparison = compare_folder(
                job,
                output,
                setup,
                keep=keep,
                ablation=None if ablation is None else read_ablation(ablation),
                device=device,
                checkpointing=checkpointing,
                on_measuring=lambda count, check, _: progress.update(
                    task, completed=count, total=check
                ),
                on_progress=lambda done, known: progress.update(
                    task, description="training", completed=done, total=known
                ),
                say=lambda text: progress.console.print(text, markup=False),
            )
    except KeyboardInterrupt:
        done = len(list((output / RUNS).glob("*.json")))
        stopping.say(
            f"{done} finished trainings are kept in {output}; go on with: {stopping.command()}"
        )
        raise
    if not is_main():
        return
    write_json(output / RESULT, comparison.as_json())
    write_comparison(output / "comparison.html", comparison)
    if as_json:
        options.print_json(comparison.as_json())
        return
    out = console()
    out.print(comparison_table(comparison))
    for verdict in comparison.verdicts:
        out.print(verdict, markup=False)
    out.print(f"Wrote {output}: comparison.html, {RESULT}, plans, runs", markup=False)


def _is_comparison(output: Path) -> bool:
    """Whether a folder is a comparison, or one that was stopped before it began to train."""
    from lokr_weighting.studies.compare import CALIBRATION, PLANS, SETUP

    if not output.is_dir():
        return False
    if json_with(output / SETUP, "setup", "job")():
        return True
    return {file.name for file in output.iterdir()} <= {CALIBRATION, PLANS}


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers separated by commas.

    Raises:
        LokrWeightingError: one of them is none.
    """
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise LokrWeightingError(
            f"--rates {text}: write numbers separated by commas, e.g. 2e-3,6e-3,2e-2"
        ) from None
