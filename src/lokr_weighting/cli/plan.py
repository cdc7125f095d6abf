"""`plan`: from a measurement to a plan and a trainer's configuration."""

from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.measurement import damage_shares, model_of_measured, read_measurement
from lokr_weighting.cli.writing import Goal, write
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.targets.registry import FORMATS


def plan(
    records: Annotated[Path | None, typer.Option(help="A records file: .jsonl, .gz, .bz2.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="A finished calibration's folder.")
    ] = None,
    heatmaps: Annotated[Path | None, typer.Option(help="A heatmaps JSON file.")] = None,
    reference: options.Reference = None,
    model: options.MeasuredModel = None,
    output: options.Output = None,
    target: options.Target = "lycoris",
    budget: options.Budget = None,
    blocks: options.Blocks = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    ablation: options.AblationFile = None,
    template: options.Template = None,
    force: options.Force = False,
    read_back: Annotated[
        bool,
        typer.Option(help="Ask the trainer's library what it makes of the plan; takes seconds."),
    ] = True,
    as_json: options.Json = False,
) -> None:
    """Turn a measurement into a plan and a trainer's configuration, and read it back.

    Writes the configuration and, beside it, the plan (NAME.plan.json).
    """
    goal = Goal(
        FORMATS[target], output, template, force=force, as_json=as_json, read_back=read_back
    )
    of_reference = options.folder_of(reference)
    goal.check(records, calibration, heatmaps, of_reference, options.file_of(recipe), ablation)
    added = goal.added()
    chosen = options.read_recipe(recipe, settings)
    measured = read_measurement(
        records=records,
        calibration=calibration,
        heatmaps=heatmaps,
        reference=reference,
        recipe=chosen,
    )
    name = model or model_of_measured(measured, reference)
    if name is None:
        raise LokrWeightingError("the measurement does not say its model; give --model")
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.plan.make import make_plan

    skeleton = load_skeleton(name)
    made = make_plan(
        measured,
        skeleton,
        recipe=chosen,
        budget=budget,
        blocks=blocks,
        name=name,
        contributions=damage_shares(ablation, chosen, skeleton),
        added=added,
        linears=goal.linears(skeleton),
    )
    write(made, skeleton, goal)
