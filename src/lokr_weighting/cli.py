"""The command line: `lokr-weighting plan | verify | inspect | heatmaps`.

Exit codes: 0 done; 1 a configuration does not do what it says; 2 a mistake in what was given.
"""

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Never

import typer

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from lokr_weighting.heatmaps import Heatmaps
    from lokr_weighting.readback import Readback
    from lokr_weighting.recipe import Recipe

NOT_EXACT = 1
USER_MISTAKE = 2

app = typer.Typer(
    help="Measure where a diffusion transformer works on your images, and give a LoKr adapter "
    "its parameters there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ModelOption = Annotated[
    str,
    typer.Option(
        help="A known architecture (sd3.5-large, sd3.5-medium, flux.1-dev, auraflow-v0.3, ...), "
        "a local diffusers folder, or a hub id."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
ConfigArgument = Annotated[Path, typer.Argument(help="A LyCORIS configuration file.")]


@app.command()
def plan(
    records: Annotated[Path | None, typer.Option(help="A records file: .jsonl, .gz, .bz2.")] = None,
    heatmaps: Annotated[Path | None, typer.Option(help="A heatmaps JSON file.")] = None,
    reference: Annotated[
        str | None, typer.Option(help="A measurement that comes with the package: sd3.5-large.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="As for verify; by default the model that was measured."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The LyCORIS configuration to write.")
    ] = Path("peft_config.json"),
    budget: Annotated[
        str | None,
        typer.Option(help="120M parameters, a 240MiB bf16 file, or what uniform:8 would cost."),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="A JSON file of recipe settings.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="One recipe setting, e.g. max_factor=16."),
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(help="Your own LyCORIS configuration: its other settings are kept."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace an output file of another origin.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a measurement into a plan and a LyCORIS configuration, and read it back.

    Writes the configuration and, beside it, the plan (NAME.plan.json).
    """
    from lokr_weighting.architectures import empty_transformer
    from lokr_weighting.plan import make_plan, write_plan
    from lokr_weighting.readback import differences_from_plan, read_back
    from lokr_weighting.targets.lycoris import config_of, read_config, write_config

    plan_file = _plan_file(output, template, force)
    chosen = _recipe(recipe, settings or [])
    measured = _measurement(records, heatmaps, reference, chosen)
    name = model or reference or measured.model
    if name is None:
        raise LokrWeightingError("the measurement does not say its model; give --model")
    base = read_config(template) if template else None
    transformer = empty_transformer(name)
    made = make_plan(measured, transformer, chosen, budget, name=name)
    config = config_of(made, base)
    readback = read_back(transformer, config)
    differences = differences_from_plan(made, readback)
    if not readback.exact or differences:
        _refuse(readback, differences)
    write_config(output, config)
    write_plan(plan_file, made)
    if as_json:
        _print_json(made.model_dump(mode="json") | {"files": [str(output), str(plan_file)]})
        return
    from lokr_weighting.tables import console, plan_table

    out = console()
    out.print(plan_table(made))
    out.print(
        f"Read back: LyCORIS {metadata.version('lycoris-lora')} makes all "
        f"{len(readback.modules)} modules as planned "
        f"({readback.made_parameters:,} trainable parameters)."
    )
    out.print(f"Wrote {output} and {plan_file}", soft_wrap=True, markup=False)


@app.command()
def verify(
    config: ConfigArgument,
    model: ModelOption,
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every module that differs.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build the network that LyCORIS really makes of a configuration and compare.

    Works for any LyCORIS configuration. Exit code 0: every module gets what is asked; 1: not.
    """
    readback = _read_back(config, model)
    if as_json:
        _print_json(_readback_json(readback))
    else:
        from lokr_weighting.tables import console, readback_table

        console().print(readback_table(readback, None if show_all else 20))
    if not readback.exact:
        raise typer.Exit(NOT_EXACT)


@app.command()
def inspect(config: ConfigArgument, model: ModelOption, as_json: JsonOption = False) -> None:
    """Show what an existing LyCORIS configuration costs, block by block and in all."""
    readback = _read_back(config, model)
    from lokr_weighting.tables import console, cost_rows, cost_table

    if as_json:
        total = readback.made_parameters
        _print_json({"parameters": total, "exact": readback.exact, "blocks": cost_rows(readback)})
        return
    console().print(cost_table(readback))
    if not readback.exact:
        console().print("This is not what the configuration asks for: lokr-weighting verify tells.")


@app.command("heatmaps")
def heatmaps_command(
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


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(metadata.version("lokr-weighting"))
        context.exit()


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and exit code 2."""
    try:
        app()
    except LokrWeightingError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USER_MISTAKE)


def _plan_file(output: Path, template: Path | None, force: bool) -> Path:
    """The plan's file beside the output; refuses to replace what may be the user's own work."""
    if output.is_dir():
        raise LokrWeightingError(f"{output}: is a folder; give a file's name with --output")
    plan_file = output.with_suffix(".plan.json")
    if template and output.exists() and template.exists() and output.samefile(template):
        raise LokrWeightingError(f"{output}: is the template; write to another file")
    if output.exists() and not plan_file.exists() and not force:
        raise LokrWeightingError(
            f"{output}: exists and has no plan beside it, so it may be your own; "
            "--force replaces it, --output writes elsewhere"
        )
    return plan_file


def _recipe(file: Path | None, settings: list[str]) -> "Recipe":
    """The recipe of the file, changed by NAME=VALUE settings."""
    from lokr_weighting.files import checked, read_json
    from lokr_weighting.recipe import Recipe

    data = read_json(file) if file else {}
    if file:
        checked(Recipe, data, str(file))
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise LokrWeightingError(f"--set {setting}: write NAME=VALUE, e.g. max_factor=16")
        try:
            data[name] = json.loads(value)
        except json.JSONDecodeError:
            data[name] = value
    return checked(Recipe, data, "--set" if settings else "recipe")


def _measurement(
    records: Path | None, heatmaps: Path | None, reference: str | None, recipe: "Recipe"
) -> "Heatmaps":
    """The heatmaps from whichever one of the three was given."""
    from lokr_weighting.heatmaps import load_reference, read_heatmaps
    from lokr_weighting.records import heatmaps_of, read_records

    given = [source for source in (records, heatmaps, reference) if source is not None]
    if len(given) != 1:
        raise LokrWeightingError("give exactly one of --records, --heatmaps and --reference")
    if records is not None:
        return heatmaps_of(read_records(records), recipe.bins)
    found = read_heatmaps(heatmaps) if heatmaps else load_reference(reference or "")
    if "bins" in recipe.model_fields_set and recipe.bins != found.bins:
        raise LokrWeightingError(
            f"bins = {recipe.bins}: heatmaps are already averaged, in {found.bins} bins; "
            "only records can be binned again"
        )
    return found


def _read_back(config: Path, model: str) -> "Readback":
    from lokr_weighting.targets.lycoris import read_config

    parsed = read_config(config)
    from lokr_weighting.architectures import empty_transformer
    from lokr_weighting.readback import read_back

    return read_back(empty_transformer(model), parsed)


def _refuse(readback: "Readback", differences: list[str]) -> Never:
    from lokr_weighting.tables import console, readback_table

    errors = console(stderr=True)
    errors.print(readback_table(readback))
    for difference in differences[:20]:
        errors.print(difference, markup=False)
    errors.print("Nothing was written: LyCORIS would not train this plan.")
    raise typer.Exit(NOT_EXACT)


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


def _print_json(data: Any) -> None:
    typer.echo(json.dumps(data, indent=2))
