"""`heatmaps`: a records file averaged into its two heatmaps."""

from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.outputs import Output, check_file, check_outputs, json_with


def heatmaps(
    records: options.RecordsFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The heatmaps JSON file to write.")
    ] = Path("heatmaps.json"),
    bins: Annotated[int, typer.Option(min=1, help="Equal timestep bins over [0, 1].")] = 10,
    force: options.Force = False,
) -> None:
    """Average a records file into its two heatmaps, a few kilobytes that `plan` reads."""
    check_file(output)
    check_outputs([Output(output, json_with(output, "image", "text"))], [records], force)
    from lokr_weighting.records.average import heatmaps_of
    from lokr_weighting.records.heatmaps import write_heatmaps
    from lokr_weighting.records.record import read_records

    averaged = heatmaps_of(read_records(records), bins)
    write_heatmaps(output, averaged)
    typer.echo(
        f"Wrote {output}: {averaged.samples} samples, {averaged.bins} bins, "
        f"{averaged.block_count} blocks"
    )
