"""`families`: the models that can be measured, and a row for one that is not among them."""

from dataclasses import asdict
from typing import Annotated

import typer

from lokr_weighting.cli import options


def families(
    propose: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Watch a small random model of this class and print a row of the table to check "
            "and to register: a class of diffusers, a known architecture, a local diffusers "
            "folder, or a hub id. Nothing is measured.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Which models can be measured, in which ways, and what that was tested on."""
    if propose is not None:
        _propose(propose, as_json=as_json)
        return
    from lokr_weighting.show.console import console
    from lokr_weighting.show.families import ALWAYS, families_table, family_rows

    rows = family_rows()
    if as_json:
        options.print_json([asdict(row) for row in rows])
        return
    out = console()
    out.print(families_table(rows))
    out.print(ALWAYS)


def _propose(model: str, *, as_json: bool) -> None:
    from lokr_weighting.studies.proposal import ASKS_FOR_A_CHECK, propose_for

    proposal = propose_for(model)
    if as_json:
        options.print_json(
            asdict(proposal) | {"python": proposal.python, "check": ASKS_FOR_A_CHECK}
        )
        return
    typer.echo(f"{proposal.python}\n")
    for remark in proposal.remarks:
        typer.echo(remark)
    typer.echo(ASKS_FOR_A_CHECK)
