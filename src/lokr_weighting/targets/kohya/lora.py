"""The plan as ranks of sd-scripts' own LoRA for Flux: `network_reg_dims` of networks/lora_flux.py.

Read there (commit 48d368f): it takes the first pattern that `re.search` finds in a module's name,
skips a module of rank 0, and gives every module its own rank as alpha where `network_alpha` is 0.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import write_text
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.plan.plan import Plan
from lokr_weighting.targets.kohya.names import model_there, stand_in
from lokr_weighting.targets.kohya.preset import as_toml, check_own_names, one_line
from lokr_weighting.targets.lora import ranks

SETTINGS = "kohya_lora.toml"
PREFIX = "lora_unet_"
BLOCKS = ("DoubleStreamBlock", "SingleStreamBlock")
"""The classes whose Linears it adapts."""
REST_DIM = 4
"""`network_dim`: the rank of what no pattern names."""
REST = "^lora_=0"
"""Without it, what no pattern names would get `network_dim`."""


def lora_settings(plan: Plan) -> dict[str, object]:
    """What sd-scripts is told, by its options' names.

    Raises:
        LokrWeightingError: the plan is for diffusers' names.
    """
    check_own_names(plan)
    dims = [f"^{PREFIX}{name.replace('.', '_')}$={rank}" for name, rank in ranks(plan).items()]
    return {
        "network_module": "networks.lora_flux",
        "network_dim": REST_DIM,
        "network_alpha": 0,
        "network_train_unet_only": True,
        "network_args": [f"network_reg_dims={','.join([*dims, REST])}"],
    }


def write_settings(path: Path, plan: Plan) -> None:
    """Write them as a file for sd-scripts' `--config_file`, which other options may be added to."""
    head = (
        f"# Ranks for {one_line(plan.model)}, planned by lokr-weighting, for kohya's sd-scripts:\n"
        f"#   flux_train_network.py --config_file {path.name} ...\n"
    )
    write_text(path, head + as_toml(lora_settings(plan)))


def check_flux(model: Skeleton) -> None:
    """Refuse a model whose LoRA there has no rank for each module.

    Raises:
        LokrWeightingError: it is none of Flux.
    """
    if model_there(model).class_name != "Flux":
        raise LokrWeightingError(
            "kohya-lora is for Flux alone: of sd-scripts' own LoRAs only networks/lora_flux.py "
            "takes a rank for each module; for SD3 use --target kohya"
        )


def ranks_found(model: Skeleton, settings: Mapping[str, object]) -> dict[str, int]:
    """The rank that every Linear gets by the rule of networks/lora_flux.py.

    Args:
        model: the modules of diffusers' class.
        settings: as `lora_settings` writes them.

    Returns:
        a Linear's name in sd-scripts -> its rank; those of rank 0 are left out.
    """
    arguments = settings["network_args"]
    assert isinstance(arguments, list)
    _, _, text = str(arguments[0]).partition("=")
    patterns = [pair.split("=", 1) for pair in text.split(",")]
    found: dict[str, int] = {}
    inside = {
        f"{around}.{name}"
        for around, block in stand_in(model).named_modules()
        if block.class_name in BLOCKS
        for name, module in block.named_modules()
        if module.base == "Linear"
    }
    for name in inside:
        key = PREFIX + name.replace(".", "_")
        rank = next((int(rank) for each, rank in patterns if re.search(each, key)), REST_DIM)
        if rank:
            found[name] = rank
    return found
