"""`convert`: between LyCORIS files and stock peft adapters."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lokr_weighting.cli import options
from lokr_weighting.errors import LokrWeightingError

SUFFIX = ".safetensors"


def convert(
    source: Annotated[
        Path,
        typer.Argument(help="A LyCORIS .safetensors file, or a folder of weighted peft adapters."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder or .safetensors file to write.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="The model it was trained on, for a LyCORIS file's names; as for plan."),
    ] = None,
    trainer: Annotated[
        Literal["simpletuner", "comfyui"],
        typer.Option(
            "--for",
            help="Who reads the .safetensors file. Both know the same names, but for AuraFlow's: "
            "ComfyUI has others.",
        ),
    ] = "simpletuner",
    force: options.Force = False,
) -> None:
    """Convert a trained LoKr: SimpleTuner's or ComfyUI's file to peft adapters, or back.

    Exact: no number is changed but by a scale that the other format writes elsewhere. Broken files
    and other algorithms are refused. What is there already needs --force, but for the very same.
    """
    if not source.exists():
        raise LokrWeightingError(f"{source}: there is no such file or folder")
    if output.resolve() == source.resolve() or source.resolve() in output.resolve().parents:
        raise LokrWeightingError(f"{output}: is, or is in, what is converted; write elsewhere")
    if source.is_dir():
        _to_lycoris(source, output, trainer == "comfyui", force)
    elif trainer == "comfyui":
        raise LokrWeightingError(
            f"{source}: --for is for a .safetensors file that is written; convert it to peft "
            "adapters first, and those --for comfyui"
        )
    else:
        _to_peft(source, output, model, force)


def _to_lycoris(source: Path, output: Path, comfyui: bool, force: bool) -> None:
    if output.suffix != SUFFIX:
        raise LokrWeightingError(f"{output}: peft adapters become one file; name it *{SUFFIX}")
    from lokr_weighting.targets.conversion import peft_to_lycoris

    count = peft_to_lycoris(source, output, comfyui=comfyui, replace=force)
    readers = "LyCORIS, SimpleTuner and ComfyUI (SD3, Flux)"
    typer.echo(
        f"Wrote {output}: {count} modules, for "
        f"{'ComfyUI (SD3, Flux, AuraFlow)' if comfyui else readers}"
    )


def _to_peft(source: Path, output: Path, model: str | None, force: bool) -> None:
    if output.suffix == SUFFIX:
        raise LokrWeightingError(f"{output}: a LyCORIS file becomes a folder; give a folder's name")
    if model is None:
        raise LokrWeightingError("--model is needed: a LyCORIS file does not hold modules' names")
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.targets.conversion import lycoris_to_peft

    transformer = load_skeleton(model).to_module()
    names = lycoris_to_peft(source, transformer, output, replace=force)
    typer.echo(f"Wrote {output}: {len(names)} adapters for peft and diffusers ({', '.join(names)})")
