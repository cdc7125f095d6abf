"""Options that several commands share, and what they are read into."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.targets.registry import FORMATS

if TYPE_CHECKING:
    from lokr_weighting.measure.job import Job
    from lokr_weighting.plan.recipe import Recipe


def _format_name(name: str) -> str:
    if name not in FORMATS:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(FORMATS)}")
    return name


Model = Annotated[
    str,
    typer.Option(
        help="A known architecture (sd3.5-large, sd3.5-medium, flux.1-dev, auraflow-v0.3, ...), "
        "a local diffusers folder, or a hub id."
    ),
]
MeasuredModel = Annotated[
    str | None, typer.Option(help="As for verify; by default the model that was measured.")
]
CalibrationFolder = Annotated[Path, typer.Argument(help="A finished calibration's folder.")]
Reference = Annotated[
    str | None,
    typer.Option(
        help="A measurement that comes with the package (sd3.5-large), or the folder of one that "
        "was pulled."
    ),
]
RecordsFile = Annotated[Path, typer.Argument(help="A records file: .jsonl, .gz, .bz2.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
ConfigFile = Annotated[Path, typer.Argument(help="A LyCORIS configuration file.")]
Trainers = Literal["simpletuner", "diffusers"]
TrainerName = Annotated[
    Trainers,
    typer.Option(
        help="Whose classes count where the configuration names classes, and whose keys: "
        "SimpleTuner has transformers of its own."
    ),
]
VerifyTrainer = Annotated[
    Literal["simpletuner", "diffusers", "kohya"],
    typer.Option(
        help="Whose classes count where the configuration names classes, and whose keys: "
        "SimpleTuner has transformers of its own; kohya's sd-scripts has other names, and reads a "
        "preset in TOML."
    ),
]
Target = Annotated[
    str,
    typer.Option(
        parser=_format_name,
        metavar="|".join(FORMATS),
        help="; ".join(f"{row.name}: {row.description}" for row in FORMATS.values()) + ".",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="What to write; by default "
        + ", ".join(f"{row.output} ({row.name})" for row in FORMATS.values())
        + ".",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(help="120M parameters, a 240MiB bf16 file, or what uniform:8 would cost."),
]
Blocks = Annotated[
    str | None,
    typer.Option(
        metavar="top:N|NUMBERS|NAMES|image|text",
        help="Plan a part of the model alone: top:8 (the blocks that the recipe prefers), "
        "3,5,10-20, transformer_blocks.7, or image: the Linears that image tokens pass through. A "
        "budget is then for that part.",
    ),
]
RecipeFile = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE",
        help="What decides where capacity goes (distance, streams, gradient, gradient-norm, "
        "ablation), or a JSON file of recipe settings.",
    ),
]
AblationFile = Annotated[
    Path | None, typer.Option("--ablation", help="An ablation.json, for the recipe ablation.")
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

PipelineModel = Annotated[
    str,
    typer.Option(
        "--model",
        help="A local diffusers pipeline folder, a hub id, or 'digits' (the small model that "
        "comes with the package).",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        help="A folder of images, for models of videos of videos too, with captions: same-named "
        ".txt, .caption or .json files, metadata.jsonl or metadata.csv, or none."
    ),
]
Captions = Annotated[
    str | None,
    typer.Option(
        metavar=".EXTENSION|COLUMN",
        help="Where captions are, and nowhere else: files beside the images with this extension "
        "(.caption), or this column of metadata and key of .json files (prompt).",
    ),
]
Transformer = Annotated[
    Literal["transformer", "transformer_2", "both"] | None,
    typer.Option(
        help="Of a pipeline of two transformers (Wan 2.2 14B): the one that is meant; both: one "
        "after the other, each with files of its own."
    ),
]
OneTransformer = Annotated[
    Literal["transformer", "transformer_2"] | None,
    typer.Option(help="Of a pipeline of two transformers (Wan 2.2 14B): the one that is meant."),
]
Frames = Annotated[
    int | None,
    typer.Option(
        help="For models of videos: the most frames of a video that are taken, from its "
        "beginning; by default 25."
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(help="Measure exactly so many samples; by default until the plan is settled."),
]
MaxSamples = Annotated[int, typer.Option(help="Stop here even if the plan is not settled.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides every random choice.")]
Resolution = Annotated[
    int | None,
    typer.Option(help="Side of the square crops in pixels; by default the model's own."),
]
Buckets = Annotated[
    bool, typer.Option("--buckets", help="Crop to aspect-ratio buckets instead of squares.")
]
Crops = Annotated[int, typer.Option(min=1, help="Different crops of each image.")]
Dtype = Annotated[
    str | None,
    typer.Option(help="float32, bfloat16 or float16; by default bfloat16, on a CPU float32."),
]
Device = Annotated[str | None, typer.Option(help="cuda, cuda:1, cpu; by default a GPU if any.")]
OffloadMode = Annotated[
    Literal["none", "group", "sequential"],
    typer.Option(help="For a transformer larger than the GPU: bring its parts when needed."),
]
Quantization = Annotated[
    Path | None,
    typer.Option(help='A JSON file: "backend" and arguments of diffusers\' quantization config.'),
]
Similarity = Annotated[
    bool,
    typer.Option(
        "--similarity",
        help="Gather the similarity of every pair of blocks in the same pass, for the command "
        "similarity and for the report.",
    ),
]
Gradients = Annotated[
    bool,
    typer.Option(
        "--gradients",
        help="Measure the loss's gradients too, for the recipes gradient and gradient-norm.",
    ),
]
Revision = Annotated[str | None, typer.Option(help="Revision of a hub id.")]


def file_of(recipe: str | None) -> Path | None:
    """The file that a recipe is read from; None where it is known by name."""
    from lokr_weighting.plan.recipe import RECIPES

    return None if recipe is None or recipe in RECIPES else Path(recipe)


def folder_of(reference: str | None) -> Path | None:
    """The folder that a reference is read from; None where it comes with the package."""
    return Path(reference) if reference is not None and Path(reference).is_dir() else None


def read_recipe(name: str | None, settings: list[str] | None) -> "Recipe":
    """The recipe of that name or in that file, changed by NAME=VALUE settings.

    Raises:
        LokrWeightingError: there is no such recipe or file, or a setting is unknown or makes no
            sense; names it.
    """
    from lokr_weighting.files import checked, read_json
    from lokr_weighting.plan.recipe import RECIPES, Recipe

    data: dict[str, Any] = {}
    if name in RECIPES:
        data["name"] = name
    elif name is not None:
        file = Path(name)
        if not file.exists():
            raise LokrWeightingError(
                f"--recipe {name}: is none of {', '.join(RECIPES)}, and there is no such file"
            )
        data = read_json(file)
        checked(Recipe, data, name)
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not equals:
            raise LokrWeightingError(f"--set {setting}: write NAME=VALUE, e.g. max_factor=16")
        try:
            data[name] = json.loads(value)
        # no JSON, or none that a setting could be: the text itself, refused by its name
        except (ValueError, RecursionError):
            data[name] = value
    return checked(Recipe, data, "--set" if settings else "recipe")


def read_job(*, data: Path, quantization: Path | None, **others: Any) -> "Job":
    """The job that the options describe.

    Args:
        data: the folder of images.
        quantization: a JSON file, read into the job.
        others: further fields of `Job`, by their names.

    Raises:
        LokrWeightingError: the data is no folder, or the quantization file cannot be read.
    """
    from lokr_weighting.files import read_json

    arguments = read_json(quantization) if quantization else None
    if not data.is_dir():
        what = "is a file" if data.exists() else "there is no such folder"
        raise LokrWeightingError(f"{data}: {what}; a folder of images is wanted")
    from lokr_weighting.measure.job import Job

    return Job(data=data, quantization=arguments, **others)


def print_json(data: Any) -> None:
    """Print data for scripts."""
    typer.echo(json.dumps(data, indent=2))
