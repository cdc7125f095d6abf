"""Options that several commands share, and what they are read into."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from lokr_weighting.recipe import Recipe

Model = Annotated[
    str,
    typer.Option(
        help="A known architecture (sd3.5-large, sd3.5-medium, flux.1-dev, auraflow-v0.3, ...), "
        "a local diffusers folder, or a hub id."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
ConfigFile = Annotated[Path, typer.Argument(help="A LyCORIS configuration file.")]
Target = Literal["lycoris", "peft", "lora"]
TargetFormat = Annotated[
    Target,
    typer.Option(
        help="lycoris: one configuration file; peft: stock LoKr adapters' configurations; lora: "
        "one stock LoRA configuration with the plan's parameters."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="The LyCORIS configuration (peft_config.json), or the adapters' folder (adapter).",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(help="120M parameters, a 240MiB bf16 file, or what uniform:8 would cost."),
]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="A JSON file of recipe settings.")
]
RecipeSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="One recipe setting, e.g. max_factor=16."),
]
Template = Annotated[
    Path | None,
    typer.Option(help="Your own LyCORIS configuration: its other settings are kept."),
]
Force = Annotated[bool, typer.Option(help="Replace an output file of another origin.")]


def read_recipe(file: Path | None, settings: list[str] | None) -> "Recipe":
    """The recipe of the file, changed by NAME=VALUE settings.

    Raises:
        LokrWeightingError: a setting is unknown or makes no sense; names it.
    """
    from lokr_weighting.files import checked, read_json
    from lokr_weighting.recipe import Recipe

    data = read_json(file) if file else {}
    if file:
        checked(Recipe, data, str(file))
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise LokrWeightingError(f"--set {setting}: write NAME=VALUE, e.g. max_factor=16")
        try:
            data[name] = json.loads(value)
        except json.JSONDecodeError:
            data[name] = value
    return checked(Recipe, data, "--set" if settings else "recipe")


def check_folder(output: Path) -> None:
    """Refuse a file where a folder is written.

    Raises:
        LokrWeightingError: the output is a file.
    """
    if output.is_file():
        raise LokrWeightingError(f"{output}: is a file; give a folder's name with --output")


def print_json(data: Any) -> None:
    """Print data for scripts."""
    typer.echo(json.dumps(data, indent=2))
