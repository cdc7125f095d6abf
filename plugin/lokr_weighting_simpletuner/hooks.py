"""What is changed in SimpleTuner while it runs: its settings, two methods, saved metadata."""

import functools
from types import ModuleType
from typing import Any

from lokr_weighting_simpletuner.fields import REGISTRY, register_fields
from lokr_weighting_simpletuner.imports import Hook
from lokr_weighting_simpletuner.run import Run
from lokr_weighting_simpletuner.versions import (
    attribute,
    check_version,
    named,
    simpletuner_version,
)


def hooks_of(run: Run) -> dict[str, Hook]:
    """SimpleTuner's module -> what is done to it once it is imported, for this run.

    Raises:
        LokrWeightingError: this SimpleTuner is too old.
    """
    check_version(simpletuner_version())
    hooks: dict[str, Hook] = {
        REGISTRY: lambda module: register_fields(attribute(module, "field_registry")),
        "simpletuner.helpers.training.trainer": lambda module: _trainer(module, run),
        "simpletuner.helpers.training.save_hooks": lambda module: _save_hooks(module, run),
    }
    return {name: named(hook) for name, hook in hooks.items()}


def _trainer(module: ModuleType, run: Run) -> None:
    """Check the settings when they are read; measure and plan before the adapter is created."""
    trainer = attribute(module, "Trainer")
    parse = attribute(trainer, "parse_arguments")
    create_adapter = attribute(trainer, "init_trainable_peft_adapter")

    @functools.wraps(parse)
    def parse_arguments(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = parse(self, *args, **kwargs)
        run.begin(self.config, getattr(self, "accelerator", None))
        return result

    @functools.wraps(create_adapter)
    def init_trainable_peft_adapter(self: Any) -> None:
        run.before_adapter(self)
        create_adapter(self)
        run.after_adapter(self)

    trainer.parse_arguments = parse_arguments
    trainer.init_trainable_peft_adapter = init_trainable_peft_adapter


def _save_hooks(module: ModuleType, run: Run) -> None:
    """Write the plan's identity into the metadata of every checkpoint."""
    manager = attribute(module, "SaveHookManager")
    build = attribute(manager, "_build_modelspec_metadata")

    @functools.wraps(build)
    def _build_modelspec_metadata(self: Any, *args: Any, **kwargs: Any) -> dict[str, str]:
        return build(self, *args, **kwargs) | run.saved_metadata()

    manager._build_modelspec_metadata = _build_modelspec_metadata
