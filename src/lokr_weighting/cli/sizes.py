"""`sizes`: what each factor becomes in a model, and what that costs."""

from dataclasses import asdict
from typing import Annotated

import typer

from lokr_weighting.cli import options


def sizes(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A known architecture (sd3.5-large, flux.1-dev, ...; families lists them), a "
            "local diffusers folder, or a hub id.",
        ),
    ],
    as_json: options.Json = False,
) -> None:
    """Which split each factor becomes in a model, and how many parameters and MiB that is."""
    from lokr_weighting.models.blocks import block_linears
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.plan.file_size import BYTES_PER_PARAMETER
    from lokr_weighting.plan.sizes import sizes_by_shape, uniform_sizes

    linears = block_linears(load_skeleton(model))
    if as_json:
        options.print_json(
            {
                "model": model,
                "bytes_per_parameter": BYTES_PER_PARAMETER,
                "shapes": [
                    asdict(shape)
                    | {
                        "splits": [
                            asdict(each) | {"split": each.split, "label": each.split.label}
                            for each in shape.splits
                        ]
                    }
                    for shape in sizes_by_shape(linears)
                ],
                "uniform": [asdict(row) for row in uniform_sizes(linears)],
            }
        )
        return
    from lokr_weighting.show.console import console
    from lokr_weighting.show.sizes import sizes_table

    console().print(sizes_table(model, linears))
