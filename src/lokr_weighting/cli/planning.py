"""From a measurement to a configuration, and what configurations really do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.writing import NOT_EXACT, Goal, write
from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from lokr_weighting.calibration import Calibration
    from lokr_weighting.heatmaps import Heatmaps
    from lokr_weighting.readback import Readback
    from lokr_weighting.recipe import Recipe
    from lokr_weighting.records import Records


def plan(
    records: Annotated[Path | None, typer.Option(help="A records file: .jsonl, .gz, .bz2.")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="A finished calibration's folder.")
    ] = None,
    heatmaps: Annotated[Path | None, typer.Option(help="A heatmaps JSON file.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="A measurement that comes with the package: sd3.5-large.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="As for verify; by default the model that was measured."),
    ] = None,
    output: options.Output = None,
    target: options.TargetFormat = "lycoris",
    budget: options.Budget = None,
    recipe: options.RecipeFile = None,
    settings: options.RecipeSettings = None,
    template: options.Template = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Turn a measurement into a plan and a trainer's configuration, and read it back.

    Writes the configuration and, beside it, the plan (NAME.plan.json).
    """
    goal = Goal(target, output, template, force, as_json)
    goal.check()
    chosen = options.read_recipe(recipe, settings)
    measured = _measurement(records, calibration, heatmaps, reference, chosen)
    name = model or reference or model_of_measured(measured)
    if name is None:
        raise LokrWeightingError("the measurement does not say its model; give --model")
    from lokr_weighting.architectures import empty_transformer

    write(measured, empty_transformer(name), name, chosen, budget, goal)


def verify(
    config: options.ConfigFile,
    model: options.Model,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every module that differs.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Build the network that LyCORIS really makes of a configuration and compare.

    Works for any LyCORIS configuration. Exit code 0: every module gets what is asked; 1: not.
    """
    readback = _read_back(config, model)
    if as_json:
        options.print_json(_readback_json(readback))
    else:
        from lokr_weighting.tables import console, readback_table

        console().print(readback_table(readback, None if show_all else 20))
    if not readback.exact:
        raise typer.Exit(NOT_EXACT)


def inspect(
    config: options.ConfigFile, model: options.Model, as_json: options.Json = False
) -> None:
    """Show what an existing LyCORIS configuration costs, block by block and in all."""
    readback = _read_back(config, model)
    from lokr_weighting.tables import console, cost_rows, cost_table

    if as_json:
        total = readback.made_parameters
        options.print_json(
            {"parameters": total, "exact": readback.exact, "blocks": cost_rows(readback)}
        )
        return
    console().print(cost_table(readback))
    if not readback.exact:
        console().print("This is not what the configuration asks for: lokr-weighting verify tells.")


def heatmaps(
    records: Annotated[Path, typer.Argument(help="A records file: .jsonl, .gz, .bz2.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The heatmaps JSON file to write.")
    ] = Path("heatmaps.json"),
    bins: Annotated[int, typer.Option(min=1, help="Equal timestep bins over [0, 1].")] = 10,
) -> None:
    """Average a records file into its two heatmaps, a few kilobytes that `plan` reads."""
    from lokr_weighting.heatmaps import write_heatmaps
    from lokr_weighting.records import heatmaps_of, read_records

    found = heatmaps_of(read_records(records), bins)
    write_heatmaps(output, found)
    typer.echo(
        f"Wrote {output}: {found.samples} samples, {found.bins} bins, {found.block_count} blocks"
    )


def _measurement(
    records: Path | None,
    calibration: Path | None,
    heatmaps: Path | None,
    reference: str | None,
    recipe: "Recipe",
) -> "Calibration | Records | Heatmaps":
    """The measurement from whichever one was given."""
    from lokr_weighting.calibration import read_calibration
    from lokr_weighting.heatmaps import load_reference, read_heatmaps
    from lokr_weighting.records import read_records

    sources = (records, calibration, heatmaps, reference)
    given = [source for source in sources if source is not None]
    if len(given) != 1:
        raise LokrWeightingError(
            "give exactly one of --records, --calibration, --heatmaps and --reference"
        )
    if records is not None:
        return read_records(records, recipe.tokens)
    if calibration is not None:
        return read_calibration(calibration)
    averaged = read_heatmaps(heatmaps) if heatmaps else load_reference(reference or "")
    if "bins" in recipe.model_fields_set and recipe.bins != averaged.bins:
        raise LokrWeightingError(
            f"bins = {recipe.bins}: heatmaps are already averaged, in {averaged.bins} bins; "
            "only records can be binned again"
        )
    return averaged


def model_of_measured(measured: "Calibration | Records | Heatmaps") -> str | None:
    """The model that was measured, where the measurement says."""
    from lokr_weighting.calibration import Calibration
    from lokr_weighting.heatmaps import Heatmaps

    if isinstance(measured, Calibration):
        return measured.settings.get("model")
    return measured.model if isinstance(measured, Heatmaps) else None


def _read_back(config: Path, model: str) -> "Readback":
    from lokr_weighting.targets.lycoris import read_config

    parsed = read_config(config)
    from lokr_weighting.architectures import empty_transformer
    from lokr_weighting.readback import read_back

    return read_back(empty_transformer(model), parsed)


def _readback_json(readback: "Readback") -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "exact": readback.exact,
        "counts": readback.counts,
        "asked_parameters": readback.asked_parameters,
        "made_parameters": readback.made_parameters,
        "faults": readback.faults,
        "notes": list(readback.notes),
        "modules": [asdict(module) for module in readback.modules if module.status != "exact"],
    }
