"""`heatmaps`: a records file averaged into its two heatmaps."""

from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options


def heatmaps(
    records: options.RecordsFile,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The heatmaps JSON file to write.")
    ] = Path("heatmaps.json"),
    bins: Annotated[int, typer.Option(min=1, help="Equal timestep bins over [0, 1].")] = 10,
) -> None:
    """Average a records file into its two heatmaps, a few kilobytes that `plan` reads."""
    from lokr_weighting.records.average import heatmaps_of
    from lokr_weighting.records.heatmaps import write_heatmaps
    from lokr_weighting.records.record import read_records

    averaged = heatmaps_of(read_records(records), bins)
    write_heatmaps(output, averaged)
    typer.echo(
        f"Wrote {output}: {averaged.samples} samples, {averaged.bins} bins, "
        f"{averaged.block_count} blocks"
    )
