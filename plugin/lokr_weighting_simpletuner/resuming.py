"""A run that goes on from a checkpoint keeps the checkpoint's configuration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json
from lokr_weighting.parsing import parse_json

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
    wanted = trainer.config.resume_from_checkpoint
    if wanted and wanted != "latest" and trainer._resume_path_is_remote(wanted):
        raise LokrWeightingError(
            f"resume_from_checkpoint = {wanted}: its configuration must be known before it is "
            f"downloaded; copy it into {trainer.config.output_dir} and give its name"
        )
    folder = _folder(trainer)
    if folder is None:
        return None
    if not (folder / ADAPTER).is_file():
        raise LokrWeightingError(f"{folder}: holds no {ADAPTER} to go on from; {START_ANEW}")
    checkpoint = read_checkpoint(folder)
    if checkpoint is None:
        raise LokrWeightingError(
            f"{folder}: this checkpoint was trained without weighting, and its splits cannot be "
            f"changed any more; {START_ANEW}"
        )
    return checkpoint


def check_unweighted(trainer: Any) -> None:
    """Refuse to go on from a weighted run's checkpoint as if it were none.

    SimpleTuner would end in a list of tensors of other sizes than its configuration's.

    Raises:
        LokrWeightingError: the run is not weighted, but the checkpoint that it resumes is.
    """
    config = trainer.config
    folder = _folder(trainer)
    if folder is None or not (folder / ADAPTER).is_file():
        return
    checkpoint = read_checkpoint(folder)
    if checkpoint is None or _same(Path(config.lycoris_config or ""), checkpoint.config):
        return
    raise LokrWeightingError(
        f"{folder}: this checkpoint is of a weighted run, and its splits are not those of "
        f"{config.lycoris_config}: set lokr_weighting to true, or lycoris_config to "
        f"{checkpoint.config}, or give another output_dir to start anew"
    )


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and read_json(one) == read_json(other)


def _folder(trainer: Any) -> Path | None:
    """Where the checkpoint is that SimpleTuner will load; None: it starts anew."""
    config = trainer.config
    wanted = config.resume_from_checkpoint
    if not wanted:
        return None
    name = trainer.checkpoint_state_latest(config.output_dir) if wanted == "latest" else wanted
    return None if name is None else Path(config.output_dir) / Path(name).name


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """What a checkpoint says of its weighted run; None: it is of none.

    Raises:
        LokrWeightingError: it cannot be read.
    """
    try:
        with safe_open(folder / ADAPTER, framework="pt") as file:
            saved = (file.metadata() or {}).get(SAVED)
            names = file.keys()
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise LokrWeightingError(f"{folder / ADAPTER}: cannot be read: {error}") from None
    if saved is None:
        return None
    said = parse_json(saved, f"{folder / ADAPTER}: {SAVED} in its header", finite=True)
    if not isinstance(said, dict):
        raise LokrWeightingError(f"{folder / ADAPTER}: {SAVED} in its header is no object")
    return Checkpoint(folder, shapes, said)
