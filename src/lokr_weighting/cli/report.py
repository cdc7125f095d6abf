"""`report`: one page of a measurement and its plan."""

from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.measurement import damage_shares, model_of_measured, study_of_adapter
from lokr_weighting.cli.outputs import Output, check_file, check_folder, check_outputs, page
from lokr_weighting.errors import LokrWeightingError


def report(
    calibration: Annotated[
        Path | None, typer.Argument(help="A finished calibration's folder.")
    ] = None,
    reference: options.Reference = None,
    plan: Annotated[
        Path | None, typer.Option(help="The plan to show; by default the recipe's own is made.")
    ] = None,
    model: options.MeasuredModel = None,
    budget: options.Budget = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    ablation: Annotated[
        Path | None, typer.Option(help="An ablation.json, to set damage beside distance.")
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option(
            help="A trained adapter, as for inspect: what it did, beside --plan if given."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path(
        "report.html"
    ),
    force: options.Force = False,
) -> None:
    """One page of figures and tables for a measurement and its plan; figures as PNG and SVG too."""
    if (calibration is None) == (reference is None):
        raise LokrWeightingError("give a calibration's folder or --reference")
    if plan is not None and (budget or recipe or settings):
        raise LokrWeightingError(
            "--budget, --recipe and --set are for a plan that is made; --plan gives a finished one"
        )
    chosen = options.read_recipe(recipe, settings)
    if output.suffix != ".html":
        raise LokrWeightingError(f"{output}: the report is a page; name it *.html")
    check_file(output)
    figures = output.with_suffix(".figures")
    check_folder(figures)
    check_outputs(
        [Output(output, page(output)), Output(figures, page(output))],
        [calibration, options.folder_of(reference), plan, ablation, adapter],
        force,
    )
    from lokr_weighting.measure.stop import judgements
    from lokr_weighting.models.known import find_skeleton
    from lokr_weighting.plan.make import make_plan
    from lokr_weighting.plan.plan import read_plan
    from lokr_weighting.records.calibration import Calibration
    from lokr_weighting.records.reading import read_calibration
    from lokr_weighting.records.references import read_reference
    from lokr_weighting.show.report import write_report
    from lokr_weighting.studies.ablation_file import read_ablation

    measured = read_calibration(calibration) if calibration else read_reference(reference or "")
    name = model or model_of_measured(measured, reference)
    given = read_plan(plan) if plan else None
    skeleton = find_skeleton(name)
    did = None
    if adapter is not None:
        if skeleton is None or name is None:
            raise LokrWeightingError(
                f"{adapter}: the model {name or ''} that it changes is not found; give --model"
            )
        did = study_of_adapter(adapter, skeleton, name, given)
    judged = []
    if skeleton is not None and isinstance(measured, Calibration):
        like = (given.recipe, given.budget) if given else (chosen, budget)
        part = given.selected.blocks if given and given.selected else None
        judged = judgements(measured, skeleton, *like, blocks=part)
    if given is None:
        if skeleton is None:
            raise LokrWeightingError(
                f"the model {name or ''} is not found, so no plan can be made: "
                "give --model or --plan"
            )
        last = judged[-1] if judged else None
        given = make_plan(
            measured,
            skeleton,
            chosen,
            budget=budget,
            name=name,
            settled=last,
            contributions=damage_shares(ablation, chosen, skeleton),
        )
    files = write_report(
        output,
        measured,
        given,
        model=None if skeleton is None else skeleton.to_module(),
        judged=judged,
        ablation=read_ablation(ablation) if ablation else None,
        adapter=did,
    )
    typer.echo(f"Wrote {output} and {len(files) - 1} figures in {files[1].parent}")
