"""Which SimpleTuner this is, and whether the plugin can work in it."""

import re
from collections.abc import Callable
from importlib import metadata
from typing import Any

from lokr_weighting.errors import LokrWeightingError

TRIED = "4.10.1"
OLDEST = (4, 8)
"""Earlier ones keep their data sets and settings otherwise."""


def simpletuner_version() -> str:
    """The installed SimpleTuner's version.

    Raises:
        LokrWeightingError: none is installed.
    """
    try:
        return metadata.version("simpletuner")
    except metadata.PackageNotFoundError:
        raise LokrWeightingError(
            "SimpleTuner is not installed as a package in this environment: install it with pip, "
            "here too where it is run from its sources"
        ) from None


def check_version(version: str) -> None:
    """Refuse a SimpleTuner that the plugin does not work in.

    Raises:
        LokrWeightingError: it is too old.
    """
    numbers = tuple(int(each) for each in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST:
        raise LokrWeightingError(
            f"SimpleTuner {version} is too old for this plugin: install "
            f"{'.'.join(map(str, OLDEST))} or later (it was tried with {TRIED}), or measure with "
            "`lokr-weighting generate` and give what that writes as lycoris_config"
        )


def unexpected(error: Exception, doing: str) -> LokrWeightingError:
    """An error that nobody foresaw, with what it takes to understand it."""
    return LokrWeightingError(
        f"{doing}: {type(error).__name__}: {error} (in SimpleTuner {simpletuner_version()}; this "
        f"plugin was tried with {TRIED})"
    )


def named(hook: Callable[[Any], None]) -> Callable[[Any], None]:
    """A hook whose unforeseen errors name SimpleTuner's version."""

    def run(module: Any) -> None:
        try:
            hook(module)
        except LokrWeightingError:
            raise
        except Exception as error:
            raise unexpected(error, f"the plugin does not fit {module.__name__}") from error

    return run


def attribute(owner: Any, name: str) -> Any:
    """An attribute of SimpleTuner's.

    Raises:
        LokrWeightingError: this SimpleTuner has none of that name.
    """
    if not hasattr(owner, name):
        raise LokrWeightingError(
            f"SimpleTuner {simpletuner_version()} has no {name} in {owner.__name__}; "
            f"this plugin was tried with {TRIED}"
        )
    return getattr(owner, name)
