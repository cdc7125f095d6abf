"""Looking at measurements: a report, and two of them side by side."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.planning import model_of_measured
from lokr_weighting.errors import LokrWeightingError

CalibrationFolder = Annotated[Path, typer.Argument(help="A finished calibration's folder.")]
ModelOption = Annotated[
    str | None, typer.Option(help="As for plan; by default the model that was measured.")
]


def report(
    calibration: Annotated[
        Path | None, typer.Argument(help="A finished calibration's folder.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="A measurement that comes with the package: sd3.5-large.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="The plan to show; by default the recipe's own is made.")
    ] = None,
    model: ModelOption = None,
    budget: options.Budget = None,
    ablation: Annotated[
        Path | None, typer.Option(help="An ablation.json, to set damage beside distance.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page to write.")] = Path(
        "report.html"
    ),
) -> None:
    """One page of figures and tables for a measurement and its plan; figures as PNG and SVG too."""
    if (calibration is None) == (reference is None):
        raise LokrWeightingError("give a calibration's folder or --reference")
    if plan is not None and budget is not None:
        raise LokrWeightingError("--budget is for a plan that is made; --plan gives a finished one")
    if output.suffix != ".html":
        raise LokrWeightingError(f"{output}: the report is a page; name it *.html")
    from lokr_weighting.ablation import read_ablation
    from lokr_weighting.calibration import read_calibration
    from lokr_weighting.heatmaps import load_reference
    from lokr_weighting.plan import make_plan, read_plan
    from lokr_weighting.report import model_of, write_report

    measured = read_calibration(calibration) if calibration else load_reference(reference or "")
    name = model or reference or model_of_measured(measured)
    shown = read_plan(plan) if plan else None
    transformer = None if name is None else model_of(name)
    if shown is None:
        if transformer is None:
            raise LokrWeightingError(
                f"the model {name or ''} is not found, so no plan can be made: give --model or "
                "--plan"
            )
        shown = make_plan(measured, transformer, budget=budget, name=name)
    costs = read_ablation(ablation) if ablation else None
    files = write_report(output, measured, shown, transformer, costs)
    typer.echo(f"Wrote {output} and {len(files) - 1} figures in {files[1].parent}")


def diff(
    a: CalibrationFolder,
    b: CalibrationFolder,
    model: ModelOption = None,
    budget: options.Budget = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    as_json: options.Json = False,
) -> None:
    """Two calibrations side by side: where they differ beyond chance, and what that changes."""
    from lokr_weighting.calibration import read_calibration
    from lokr_weighting.compare import differences, moved_blocks
    from lokr_weighting.experiment_tables import differences_table, moved_table
    from lokr_weighting.plan import make_plan
    from lokr_weighting.report import model_of
    from lokr_weighting.tables import console

    chosen = options.read_recipe(recipe, settings)
    measured = [read_calibration(path) for path in (a, b)]
    found = differences(*(each.heatmaps(chosen.bins, chosen.tokens) for each in measured))
    name = model or model_of_measured(measured[0])
    transformer = None if name is None else model_of(name)
    moved = None
    if transformer is not None:
        moved = moved_blocks(*(make_plan(each, transformer, chosen, budget) for each in measured))
    if as_json:
        options.print_json(
            {
                "differences": [asdict(each) | {"z": each.z} for each in found],
                "moved": None if moved is None else [asdict(each) for each in moved],
            }
        )
        return
    out = console()
    for path, each in zip((a, b), measured, strict=True):
        letter = "A" if path == a else "B"
        out.print(
            f"{letter}: {path}, {len(each.records)} samples of {model_of_measured(each)}",
            markup=False,
        )
    out.print(differences_table(found))
    if moved is None:
        out.print(f"What it changes in the plan is not known: no model {name}; give --model")
    else:
        out.print(moved_table(moved))


def similarity(
    calibration: Annotated[
        Path, typer.Argument(help="A calibration's folder, measured with --similarity.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the matrix and the figure.")
    ] = Path("similarity"),
    as_json: options.Json = False,
) -> None:
    """Which blocks share a representation: the similarity of every pair, and the groups in it.

    Measure with calibrate or generate --similarity.
    """
    from lokr_weighting.calibration import read_calibration
    from lokr_weighting.experiment_tables import groups_table
    from lokr_weighting.figures import save, similarity_figure
    from lokr_weighting.files import write_json
    from lokr_weighting.similarity import similarity_of
    from lokr_weighting.tables import console

    options.check_folder(output)
    found = similarity_of(read_calibration(calibration))
    data = found.as_json()
    write_json(output / "similarity.json", data)
    save(similarity_figure(found), output / "similarity")
    if as_json:
        options.print_json(data)
        return
    out = console()
    out.print(groups_table(found))
    out.print(f"Wrote {output}: similarity.json, similarity.png, similarity.svg")
