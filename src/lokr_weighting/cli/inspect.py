"""`inspect`: what a configuration costs."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from lokr_weighting.cli import options
from lokr_weighting.cli.verify import elsewhere_as_json
from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from lokr_weighting.models.skeleton import Skeleton


def inspect(
    config: options.ConfigFile,
    model: options.Model,
    trainer: options.TrainerName = "simpletuner",
    as_json: options.Json = False,
) -> None:
    """Show what an existing LyCORIS configuration costs, block by block and in all."""
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
