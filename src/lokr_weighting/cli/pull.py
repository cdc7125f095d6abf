"""`pull`: a calibration from the Hugging Face Hub."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.outputs import Output, check_folder, check_outputs
from lokr_weighting.errors import LokrWeightingError


def pull(
    repository: Annotated[str, typer.Argument(help="The dataset's hub id: somebody/name.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The calibration's folder.")
    ] = Path("calibration"),
    revision: options.Revision = None,
    force: options.Force = False,
) -> None:
    """Get a calibration that somebody shared; `plan`, `report` and the others read its folder."""
    check_folder(output)
    advice = "is not empty: it may be a measurement of your own"
    check_outputs([Output(output, lambda: False, advice)], [], force)
    from lokr_weighting.files import beside
    from lokr_weighting.records.hub import download
    from lokr_weighting.records.reading import read_calibration
    from lokr_weighting.records.sharing import SHARED

    with beside(output) as place:
        download(repository, place, revision)
        try:
            found = read_calibration(place)
        except LokrWeightingError as error:
            said = str(error).replace(f"{place}/", f"{repository}/").replace(str(place), repository)
            raise LokrWeightingError(f"{said}; this is what was downloaded") from None
        output.mkdir(parents=True, exist_ok=True)
        for name in SHARED:
            # what is not there any more is taken away, or it would be of another measurement
            (output / name).unlink(missing_ok=True)
            if (place / name).is_file():
                (place / name).replace(output / name)
    typer.echo(
        f"Wrote {output}: {len(found.records)} samples of {found.model}. Plan with: "
        f"lokr-weighting plan --reference {shlex.quote(str(output))}"
    )
