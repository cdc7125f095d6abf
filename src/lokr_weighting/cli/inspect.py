"""`inspect`: what a configuration costs."""

from dataclasses import asdict

from lokr_weighting.cli import options


def inspect(
    config: options.ConfigFile, model: options.Model, as_json: options.Json = False
) -> None:
    """Show what an existing LyCORIS configuration costs, block by block and in all."""
    from lokr_weighting.models.known import load_skeleton
    from lokr_weighting.targets.lycoris.config import read_config

    parsed = read_config(config)
    from lokr_weighting.show.console import console
    from lokr_weighting.show.readback_tables import block_costs, cost_table
    from lokr_weighting.targets.lycoris.readback import read_back

    readback = read_back(load_skeleton(model).to_module(), parsed)
    if as_json:
        options.print_json(
            {
                "parameters": readback.made_parameters,
                "exact": readback.exact,
                "blocks": [asdict(cost) for cost in block_costs(readback)],
            }
        )
        return
    console().print(cost_table(readback))
    if not readback.exact:
        console().print("This is not what the configuration asks for: lokr-weighting verify tells.")
