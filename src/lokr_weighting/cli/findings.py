"""`findings`: what a measurement says, in words."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.measurement import read_measurement
from lokr_weighting.cli.outputs import Output, check_file, check_outputs


def findings(
    calibration: Annotated[
        Path | None, typer.Argument(help="A finished calibration's folder.")
    ] = None,
    records: Annotated[Path | None, typer.Option(help="A records file instead.")] = None,
    heatmaps: Annotated[Path | None, typer.Option(help="A heatmaps JSON file instead.")] = None,
    reference: options.Reference = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .png, .svg or .pdf of the heatmaps with marks."),
    ] = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """What the heatmaps say: critical and idle blocks, islands, gradients, and how sure that is."""
    if output is not None:
        check_file(output)
        of_reference = options.folder_of(reference)
        inputs = [calibration, records, heatmaps, of_reference, options.file_of(recipe)]
        # a figure does not say whose it is
        check_outputs([Output(output, lambda: False, "exists")], inputs, force)
    chosen = options.read_recipe(recipe, settings)
    measured = read_measurement(
        records=records,
        calibration=calibration,
        heatmaps=heatmaps,
        reference=reference,
        recipe=chosen,
    )
    from lokr_weighting.records.heatmaps import Heatmaps
    from lokr_weighting.show.console import console
    from lokr_weighting.show.findings import (
        findings_remarks,
        findings_table,
        headlines,
        sentence,
    )
    from lokr_weighting.studies.findings import findings_of

    found = findings_of(measured, chosen)
    if output is not None:
        from lokr_weighting.plan.averaged import averaged
        from lokr_weighting.show.figures import save_as
        from lokr_weighting.show.findings_figure import findings_figure

        save_as(findings_figure(averaged(measured, chosen)[0], found), output)
    if as_json:
        options.print_json([asdict(each) | {"sentence": sentence(each)} for each in found])
        return
    out = console()
    for line in headlines(found):
        out.print(line, markup=False)
    out.print(findings_table(found))
    for line in findings_remarks(found, samples_known=not isinstance(measured, Heatmaps)):
        out.print(line, markup=False)
    if output is not None:
        out.print(f"Wrote {output}", markup=False)
