"""What LyCORIS makes, in kohya's sd-scripts, of a preset or of a configuration meant for others."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import checked
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.targets.kohya.names import stand_in
from lokr_weighting.targets.kohya.preset import DIM, build
from lokr_weighting.targets.lycoris.check import Checked
from lokr_weighting.targets.lycoris.config import LycorisConfig, Preset, read_config
from lokr_weighting.targets.lycoris.keys import entries_without_effect
from lokr_weighting.targets.lycoris.readback import Readback, read_back
from lokr_weighting.targets.tensors import parameters

KOHYA_NAME = {"target_module": "unet_target_module", "target_name": "unet_target_name"}
"""A key of other trainers' presets -> what sd-scripts' LyCORIS reads in its place."""
LARGEST = 16 << 20  # bytes of a preset
ASSUMED = {"algo": "lokr", "linear_dim": DIM, "linear_alpha": 1}
"""What sd-scripts is told beside the preset, where it is told `algo=lokr` and nothing else."""


@dataclass(frozen=True)
class Ignored:
    """A configuration for SimpleTuner, in sd-scripts.

    Attributes:
        modules: how many modules LyCORIS adapts all the same, where its preset is saved as TOML.
        parameters: their trainable parameters.
    """

    modules: int
    parameters: int

    def __str__(self) -> str:
        return (
            "Not exact: this is a configuration for SimpleTuner, and in kohya's sd-scripts LyCORIS "
            "ignores it. Given as a preset it is no TOML, and LyCORIS stops with an AssertionError "
            "that says nothing; with its apply_preset saved as TOML, none of its targets is read "
            f"and LyCORIS adapts what it adapts by default: {self.modules} modules with "
            f"{self.parameters:,} parameters at network_dim {DIM}. Make a plan with --target kohya."
        )


def check_kohya(model: Skeleton, path: Path) -> Checked | Ignored:
    """Check a file that sd-scripts' LyCORIS is given as its preset.

    Args:
        model: the modules of diffusers' class.
        path: a TOML preset, or a LyCORIS configuration in JSON, which is SimpleTuner's.

    Raises:
        LokrWeightingError: it is neither, LyCORIS refuses it, or the model's names in sd-scripts
            are not known.
    """
    there = stand_in(model)
    if path.suffix.lower() == ".json":
        preset = read_config(path).written().get("apply_preset") or {}
        tensors = build(there.to_module(), preset).tensors
        return Ignored(len(tensors), sum(map(parameters, tensors.values())))
    preset = read_preset(path)
    unread = {
        key: f"in sd-scripts LyCORIS does not read it{f'; there it is {meant}' if meant else ''}"
        for key, meant in (KOHYA_NAME | {"lora_prefix": ""}).items()
        if key in preset
    }
    entries = [
        *preset.get("name_algo_map", {}).values(),
        *preset.get("module_algo_map", {}).values(),
    ]
    return Checked(
        trainer="kohya",
        known=True,
        readback=read_back_preset(there, preset),
        unread=unread | entries_without_effect(entries, ASSUMED["algo"]),
        changed={},
        elsewhere=None,
    )


def read_back_preset(there: Skeleton, preset: dict[str, Any]) -> Readback:
    """What LyCORIS makes of a preset beside what it asks for.

    Args:
        there: the model under sd-scripts' names (`stand_in`).
        preset: the preset.

    Raises:
        LokrWeightingError: LyCORIS refuses it, or a pattern never ends.
    """
    asked = {key: value for key, value in preset.items() if key not in KOHYA_NAME}
    for key, own in KOHYA_NAME.items():
        # nobody's default: what a preset leaves out LyCORIS adapts though nothing asks for it
        asked[key] = asked.pop(own, [])
    config = LycorisConfig.model_validate(ASSUMED | {"apply_preset": asked})
    return read_back(there.to_module(), config, lambda model: build(model, preset))


def read_preset(path: Path) -> dict[str, Any]:
    """Read a preset's TOML.

    Raises:
        LokrWeightingError: missing, no TOML, or a key that LyCORIS does not know or of another
            kind; names file and key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise LokrWeightingError(f"{path}: is too large to be a preset")
        preset = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise LokrWeightingError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LokrWeightingError(f"{path}: is no preset in TOML: {error}") from None
    checked(Preset, preset, str(path))
    return preset
