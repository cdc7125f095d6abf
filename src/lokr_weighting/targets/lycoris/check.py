"""Everything that is to be said of a configuration: what it trains, and what of it is not read."""

from dataclasses import dataclass
from typing import Literal

from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.models.trainers import Trainer, as_in
from lokr_weighting.targets.lycoris.config import LycorisConfig, Preset
from lokr_weighting.targets.lycoris.keys import keys_without_effect
from lokr_weighting.targets.lycoris.readback import Readback, read_back
from lokr_weighting.targets.lycoris.simpletuner import simpletuner_changes


@dataclass(frozen=True)
class Checked:
    """A configuration, checked for a trainer.

    Attributes:
        trainer: whose classes were asked for.
        known: whether they are known for this model; otherwise diffusers' were taken.
        readback: what LyCORIS makes of the configuration.
        unread: keys that nothing reads -> why.
        changed: what the trainer refuses or changes -> why.
        elsewhere: the other trainer, and the read-back with its classes, where the configuration
            names a class that only one of them has.
    """

    trainer: Trainer | Literal["kohya"]
    known: bool
    readback: Readback
    unread: dict[str, str]
    changed: dict[str, str]
    elsewhere: tuple[Trainer, Readback] | None

    @property
    def exact(self) -> bool:
        """Whether the trainer trains what the configuration says, and all that it says."""
        return self.readback.exact and not self.unread and not self.changed


def check(model: Skeleton, config: LycorisConfig, trainer: Trainer) -> Checked:
    """Check a configuration for a trainer.

    Args:
        model: the modules of diffusers' own class.
        config: any LyCORIS configuration.
        trainer: who would train it.

    Raises:
        LokrWeightingError: as `read_back`.
    """
    in_simpletuner = trainer == "simpletuner"
    own = as_in(model, trainer)
    other: Trainer = "diffusers" if in_simpletuner else "simpletuner"
    others = as_in(model, other)
    elsewhere = None
    if own is not None and others is not None and _named(config, own) != _named(config, others):
        elsewhere = other, read_back(others.to_module(), config)
    return Checked(
        trainer=trainer,
        known=own is not None,
        readback=read_back((own or model).to_module(), config),
        unread=keys_without_effect(config, in_simpletuner=in_simpletuner),
        changed=simpletuner_changes(config) if in_simpletuner else {},
        elsewhere=elsewhere,
    )


def _named(config: LycorisConfig, model: Skeleton) -> set[tuple[str, str]]:
    """The modules whose classes the configuration names, with those classes."""
    preset = config.apply_preset or Preset()
    classes = {*preset.target_module, *preset.module_algo_map}
    return {
        (name, module.class_name)
        for name, module in model.named_modules()
        if module.class_name in classes
    }
