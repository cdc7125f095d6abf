"""`verify`: whether LyCORIS trains what a configuration says."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.exits import NOT_EXACT

if TYPE_CHECKING:
    from lokr_weighting.targets.lycoris.readback import Readback


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
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.targets.lycoris.config import read_config

    parsed = read_config(config)
    from lokr_weighting.targets.lycoris.readback import read_back

    readback = read_back(load_skeleton(model).to_module(), parsed)
    if as_json:
        options.print_json(_as_json(readback))
    else:
        from lokr_weighting.show.console import console
        from lokr_weighting.show.readback_tables import readback_table

        console().print(readback_table(readback, None if show_all else 20))
    if not readback.exact:
        raise typer.Exit(NOT_EXACT)


def _as_json(readback: "Readback") -> dict[str, Any]:
    return {
        "exact": readback.exact,
        "counts": readback.counts,
        "asked_parameters": readback.asked_parameters,
        "made_parameters": readback.made_parameters,
        "faults": readback.faults,
        "notes": list(readback.notes),
        "modules": [asdict(module) for module in readback.modules if module.status != "exact"],
    }
