"""`similarity`: which blocks share a representation."""

from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.outputs import Output, check_folder, check_outputs, json_with

FILES = ("similarity.json", "similarity.png", "similarity.svg")


def similarity(
    calibration: Annotated[
        Path, typer.Argument(help="A calibration's folder, measured with --similarity.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the matrix and the figure.")
    ] = Path("similarity"),
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """Which blocks share a representation: the similarity of every pair, and the groups in it.

    Measure with calibrate or generate --similarity.
    """
    check_folder(output)
    ours = json_with(output / "similarity.json", "schema_version", "blocks", "groupings")
    check_outputs([Output(output / name, ours) for name in FILES], [calibration], force)
    from lokr_weighting.files import write_json
    from lokr_weighting.records.reading import read_calibration
    from lokr_weighting.show.console import console
    from lokr_weighting.show.figures import save
    from lokr_weighting.show.study_figures import similarity_figure
    from lokr_weighting.show.study_tables import groups_table
    from lokr_weighting.studies.similarity import similarity_of

    averaged = similarity_of(read_calibration(calibration))
    data = averaged.as_json()
    write_json(output / "similarity.json", data)
    save(similarity_figure(averaged), output / "similarity")
    if as_json:
        options.print_json(data)
        return
    out = console()
    out.print(groups_table(averaged))
    out.print(f"Wrote {output}: {', '.join(FILES)}", markup=False)
