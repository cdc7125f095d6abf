"""`inspect`: what a configuration costs."""

from dataclasses import asdict

from lokr_weighting.cli import options
from lokr_weighting.cli.verify import elsewhere_as_json


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

    checked = check(load_skeleton(model), parsed, trainer)
    if as_json:
        options.print_json(
            {
                "parameters": checked.readback.made_parameters,
                "exact": checked.exact,
                **elsewhere_as_json(checked),
                "blocks": [asdict(cost) for cost in block_costs(checked.readback)],
            }
        )
        return
    out = console()
    for line in trainer_remarks(checked):
        out.print(line)
    if not checked.exact:
        out.print("This is not what the configuration asks for: lokr-weighting verify tells.")
    out.print(cost_table(checked.readback))
