"""The plan as a preset of LyCORIS in kohya's sd-scripts: a TOML file, read back by LyCORIS itself.

There LyCORIS reads other keys than elsewhere (`unet_target_name`, not `target_name`), asks
`name_algo_map` only for modules that a target names, and keeps its defaults for keys left out.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import write_text
from lokr_weighting.plan.plan import Plan
from lokr_weighting.targets.lycoris.network import (
    Network,
    adapted_tensors,
    building,
    private_copy,
)

PRESET = "kohya_preset.toml"
DIM = 4
"""The rank that LyCORIS takes where sd-scripts is given no `--network_dim`."""


def preset_of(plan: Plan) -> dict[str, Any]:
    """The preset that makes LyCORIS train the plan in sd-scripts.

    Raises:
        LokrWeightingError: the plan is for diffusers' names.
    """
    check_own_names(plan)
    return {
        "enable_conv": True,
        "unet_target_module": [],
        "unet_target_name": [linear.name for linear in plan.linears],
        "text_encoder_target_module": [],
        "text_encoder_target_name": [],
        "module_algo_map": {},
        "use_fnmatch": True,
        "exclude_name": [],
        "name_algo_map": {
            linear.name: {"algo": "lokr", "factor": linear.factor, "full_matrix": True}
            for linear in plan.linears
        },
    }


def check_own_names(plan: Plan) -> None:
    """Refuse a plan for diffusers' names.

    Raises:
        LokrWeightingError: it is one.
    """
    if not plan.has_own_names:
        raise LokrWeightingError(
            "this plan is for diffusers' Linears, and sd-scripts' model joins some of them; make "
            "it with --target kohya, in Python with linears=targets.kohya.linears(skeleton)"
        )


def write_preset(path: Path, plan: Plan) -> None:
    """Write the preset, with how sd-scripts is given it."""
    head = (
        f"# {plan.parameters:,} parameters in {len(plan.linears)} Linears of "
        f"{one_line(plan.model)}, "
        "planned by lokr-weighting.\n"
        "# For kohya's sd-scripts: --network_module lycoris.kohya --network_train_unet_only\n"
        f'#   --network_args "algo=lokr" "preset={path.name}"\n'
    )
    write_text(path, head + as_toml(preset_of(plan)))


def one_line(text: str) -> str:
    """A text as it may stand in a comment."""
    return " ".join(text.split())


def build(model: nn.Module, preset: Mapping[str, Any], dim: int = DIM) -> Network:
    """The network that `lycoris.kohya.create_network` makes of a preset, as sd-scripts calls it.

    Args:
        model: the model under sd-scripts' names (`names.stand_in`), on the meta device.
        preset: the preset; LyCORIS reads it from a file, as there.
        dim: `--network_dim`; plans do not go by it.

    Raises:
        LokrWeightingError: LyCORIS refuses it; with its own reason.
    """
    with tempfile.TemporaryDirectory() as folder, building() as printed:
        file = Path(folder) / PRESET
        file.write_text(as_toml(preset), encoding="utf-8")
        kohya = private_copy("kohya")
        try:
            network = kohya.create_network(
                1.0, dim, 1.0, None, None, model, algo="lokr", preset=str(file)
            )
        except Exception as error:  # sd-scripts would meet it too
            said = " ".join(printed.getvalue().split())
            raise LokrWeightingError(
                f"LyCORIS refuses this preset: {said or f'{type(error).__name__}: {error}'}"
            ) from error
        return Network(adapted_tensors(network, model))


def as_toml(values: Mapping[str, Any]) -> str:
    """A preset as TOML: what is a table of tables comes last."""
    lines, tables = [], []
    for key, value in values.items():
        if isinstance(value, Mapping) and any(isinstance(x, Mapping) for x in value.values()):
            for name, entry in value.items():
                tables += ["", f"[{_key(key)}.{_key(name)}]"]
                tables += [f"{_key(inner)} = {_value(own)}" for inner, own in entry.items()]
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    """A value as TOML, whose text, numbers and lists are JSON's."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(own)}" for key, own in value.items())
        return f"{{{inside}}}"
    if isinstance(value, list):
        if len(value) < 2:
            return f"[{''.join(map(_value, value))}]"
        return "[\n" + "".join(f"    {_value(each)},\n" for each in value) + "]"
    return json.dumps(value)
