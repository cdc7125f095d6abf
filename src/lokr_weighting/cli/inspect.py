"""`inspect`: what a configuration costs, and what a trained adapter did."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.measurement import study_of_adapter
from lokr_weighting.cli.outputs import Output, check_file, check_outputs
from lokr_weighting.cli.verify import elsewhere_as_json
from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from lokr_weighting.models.skeleton import Skeleton

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
"""How files of weights end; a configuration is JSON."""


def inspect(
    source: Annotated[
        Path,
        typer.Argument(
            help="A LyCORIS configuration file; or a trained adapter: LoKr or LoRA, a .safetensors "
            "file or a folder of peft's."
        ),
    ],
    model: options.Model,
    trainer: Annotated[
        options.Trainers | None,
        typer.Option(help="For a configuration, as for verify; by default simpletuner."),
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="For an adapter: the plan it was trained with.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="For an adapter: a .png, .svg or .pdf to draw."),
    ] = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """What a configuration costs, or what a trained adapter did, block by block and in all.

    Of an adapter: how much it changes the weights, how much of its capacity it uses, and whether
    that is where the plan put it. A model's folder gives the weights to hold the change against.
    """
    if source.is_dir() or source.suffix in WEIGHTS:
        if trainer is not None:
            raise LokrWeightingError(f"--trainer is for a configuration; {source} is an adapter")
        _adapter(source, model, plan, output, force, as_json)
        return
    if plan is not None or output is not None:
        raise LokrWeightingError(
            f"--plan and --output are for a trained adapter (a .safetensors file or a folder); "
            f"{source} is a configuration"
        )
    _configuration(source, model, trainer or "simpletuner", as_json)


def _adapter(
    source: Path, model: str, plan: Path | None, output: Path | None, force: bool, as_json: bool
) -> None:
    if output is not None:
        check_file(output)
        # a figure does not say whose it is
        check_outputs([Output(output, lambda: False, "exists")], [source, plan], force)
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.plan.plan import read_plan

    given = None if plan is None else read_plan(plan)
    study = study_of_adapter(source, load_skeleton(model), model, given)
    from lokr_weighting.show.changes import changes_table
    from lokr_weighting.show.console import console

    if output is not None:
        from lokr_weighting.show.changes_figure import changes_figure
        from lokr_weighting.show.figures import save_as

        save_as(changes_figure(study), output)
    if as_json:
        options.print_json(study.as_json())
        return
    out = console()
    out.print(changes_table(study))
    if output is not None:
        out.print(f"Wrote {output}", markup=False)


def _configuration(config: Path, model: str, trainer: options.Trainers, as_json: bool) -> None:
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.targets.lycoris.config import read_config

    parsed = read_config(config)
    from lokr_weighting.show.console import console
    from lokr_weighting.show.readback_tables import block_costs, cost_table, trainer_remarks
    from lokr_weighting.targets.lycoris.check import check

    skeleton = load_skeleton(model)
    checked = check(skeleton, parsed, trainer)
    blocks = _blocks(skeleton)
    if as_json:
        options.print_json(
            {
                "parameters": checked.readback.made_parameters,
                "exact": checked.exact,
                **elsewhere_as_json(checked),
                "blocks": [asdict(cost) for cost in block_costs(checked.readback, blocks)],
            }
        )
        return
    out = console()
    for line in trainer_remarks(checked):
        out.print(line)
    if not checked.exact:
        out.print("This is not what the configuration asks for: lokr-weighting verify tells.")
    out.print(cost_table(checked.readback, blocks))


def _blocks(skeleton: "Skeleton") -> list[str]:
    """The model's blocks, where its family is known."""
    from lokr_weighting.models.blocks import block_names

    try:
        return block_names(skeleton)
    except LokrWeightingError:
        return []
