"""SimpleTuner's web page with our settings in its forms: `python -m ... server`."""

import functools
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from lokr_weighting_simpletuner.fields import REGISTRY, SERVICES, answered, register_fields
from lokr_weighting_simpletuner.imports import Hook, after_import
from lokr_weighting_simpletuner.versions import attribute, check_version, named, simpletuner_version


def serve(arguments: Sequence[str]) -> int:
    """Run `simpletuner server` with our fields.

    Args:
        arguments: "server" and its own options.

    Returns:
        SimpleTuner's exit code.

    Raises:
        LokrWeightingError: this SimpleTuner is too old.
    """
    check_version(simpletuner_version())
    hooks: dict[str, Hook] = {
        REGISTRY: lambda module: register_fields(attribute(module, "field_registry"), page=True),
        f"{SERVICES}.training_service": _forms,
    }
    after_import({name: named(hook) for name, hook in hooks.items()})
    sys.argv = ["simpletuner", *arguments]
    # its own command; it reads its environment before SimpleTuner is imported
    from st_cli import main

    return main()


def _forms(module: ModuleType) -> None:
    """What the page's forms say is true or false before it is saved and run."""
    build = attribute(module, "build_config_bundle")

    @functools.wraps(build)
    def build_config_bundle(*args: Any, **kwargs: Any) -> Any:
        bundle = build(*args, **kwargs)
        for config in (bundle.complete_config, bundle.config_dict, bundle.save_config):
            answered(config)
        return bundle

    module.build_config_bundle = build_config_bundle  # pyright: ignore[reportAttributeAccessIssue]
