"""`verify`: whether LyCORIS trains what a configuration says."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Never

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.exits import NOT_EXACT

if TYPE_CHECKING:
    from lokr_weighting.targets.kohya.check import Ignored
    from lokr_weighting.targets.lycoris.check import Checked


def verify(
    config: options.ConfigFile,
    model: options.Model,
    trainer: options.VerifyTrainer = "simpletuner",
    show_all: Annotated[
        bool, typer.Option("--all", help="Show every module that differs.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Build the network that LyCORIS really makes of a configuration and compare.

    Works for any LyCORIS configuration. Exit code 0: every module gets what is asked, and every
    key is read; 1: not.
    """
    from lokr_weighting.models.known import load_skeleton

    if trainer == "kohya":
        from lokr_weighting.targets.kohya.check import Ignored, check_kohya

        checked = check_kohya(load_skeleton(model), config)
        if isinstance(checked, Ignored):
            _say_ignored(checked, as_json)
    else:
        from lokr_weighting.targets.lycoris.config import read_config

        parsed = read_config(config)
        from lokr_weighting.targets.lycoris.check import check

        checked = check(load_skeleton(model), parsed, trainer)
    if as_json:
        options.print_json(_as_json(checked))
    else:
        from lokr_weighting.show.console import console
        from lokr_weighting.show.readback_tables import checked_table

        console().print(checked_table(checked, None if show_all else 20))
    if not checked.exact:
        raise typer.Exit(NOT_EXACT)


def _say_ignored(ignored: "Ignored", as_json: bool) -> Never:
    """A configuration that sd-scripts does not read as what it is."""
    if as_json:
        options.print_json(
            {
                "exact": False,
                "trainer": "kohya",
                "ignored": True,
                "made_modules": ignored.modules,
                "made_parameters": ignored.parameters,
            }
        )
    else:
        typer.echo(str(ignored))
    raise typer.Exit(NOT_EXACT)


def elsewhere_as_json(checked: "Checked") -> dict[str, Any]:
    """Whose classes were used, and what the other trainer's would make of the configuration."""
    data: dict[str, Any] = {
        "trainer": checked.trainer,
        "trainer_known": checked.known,
        "elsewhere": None,
    }
    if checked.elsewhere is not None:
        trainer, readback = checked.elsewhere
        data["elsewhere"] = {
            "trainer": trainer,
            "exact": readback.exact,
            "modules": len(readback.made),
            "parameters": readback.made_parameters,
        }
    return data


def _as_json(checked: "Checked") -> dict[str, Any]:
    readback = checked.readback
    return {
        "exact": checked.exact,
        **elsewhere_as_json(checked),
        "counts": readback.counts,
        "asked_parameters": readback.asked_parameters,
        "made_parameters": readback.made_parameters,
        "faults": readback.faults,
        "unread": checked.unread,
        "changed": checked.changed,
        "notes": list(readback.notes),
        "modules": [asdict(module) for module in readback.modules if module.status != "exact"],
    }
