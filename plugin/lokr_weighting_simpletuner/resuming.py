"""A run that goes on from a checkpoint keeps the checkpoint's configuration."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lokr_weighting.errors import LokrWeightingError

SAVED = "lokr_weighting"
"""The key of the plan's identity in the metadata of saved adapters."""
ADAPTER, CONFIG = "pytorch_lora_weights.safetensors", "lycoris_config.json"

START_ANEW = (
    "give another output_dir, or set resume_from_checkpoint to '' to start anew; without this "
    "plugin the run goes on as it was"
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a weighted run.

    Attributes:
        folder: where it is.
        shapes: its adapter's tensors.
        saved: what it says of its plan.
    """

    folder: Path
    shapes: dict[str, tuple[int, ...]]
    saved: dict[str, Any]

    @property
    def config(self) -> Path:
        """Its LyCORIS configuration."""
        return self.folder / CONFIG

    def differences(self, made: dict[str, tuple[int, ...]]) -> list[str]:
        """Where a network's tensors are not the checkpoint's, in sentences."""
        return [
            f"{name} is {self.shapes.get(name)} in the checkpoint and {made.get(name)} now"
            for name in {**self.shapes, **made}
            if self.shapes.get(name) != made.get(name)
        ]


def resumed_from(trainer: Any) -> Checkpoint | None:
    """The checkpoint that SimpleTuner will load; None where it starts anew.

    Raises:
        LokrWeightingError: the checkpoint was not made by a weighted run, or cannot be read.
    """
    config = trainer.config
    wanted = config.resume_from_checkpoint
    if not wanted:
        return None
    if wanted != "latest" and trainer._resume_path_is_remote(wanted):
        raise LokrWeightingError(
            f"resume_from_checkpoint = {wanted}: its configuration must be known before it is "
            f"downloaded; copy it into {config.output_dir} and give its name"
        )
    name = trainer.checkpoint_state_latest(config.output_dir) if wanted == "latest" else wanted
    if name is None:
        return None
    folder = Path(config.output_dir) / Path(name).name
    if not (folder / ADAPTER).is_file():
        raise LokrWeightingError(f"{folder}: holds no {ADAPTER} to go on from; {START_ANEW}")
    return read_checkpoint(folder)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read what a checkpoint of a weighted run says.

    Raises:
        LokrWeightingError: it was not made by a weighted run, or cannot be read.
    """
    try:
        with safe_open(folder / ADAPTER, framework="pt") as file:
            saved = (file.metadata() or {}).get(SAVED)
            names = file.keys()
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise LokrWeightingError(f"{folder / ADAPTER}: cannot be read: {error}") from None
    if saved is None:
        raise LokrWeightingError(
            f"{folder}: this checkpoint was trained without weighting, and its splits cannot be "
            f"changed any more; {START_ANEW}"
        )
    return Checkpoint(folder, shapes, json.loads(saved))
