"""Which of SimpleTuner's families can be measured, and why the others cannot."""

import json
from functools import cache
from importlib import resources
from typing import Any

from lokr_weighting.models.table import REGISTERED, SimpleTuner, family_files
from lokr_weighting.models.trainers import SIMPLETUNER_VERSION

INSTEAD = (
    "train it without this plugin (leave `-m lokr_weighting_simpletuner` out), or say where its "
    "blocks' streams are with lokr_weighting.register_family (docs/simpletuner.md)"
)
SEEN, COMPARED = "measured", "measured, but no whole run was tried"
"""How far a family is known to work: runs from start to finish, or its transformer alone."""


def known_families() -> dict[str, SimpleTuner]:
    """SimpleTuner's `model_family` of each that is measured -> what the table says of it."""
    return {name: own for name, own in _in_table().items() if own.refused is None}


@cache
def refused_families() -> dict[str, str]:
    """SimpleTuner's `model_family` -> why it cannot be measured."""
    file = resources.files("lokr_weighting_simpletuner") / "refused.json"
    rows = {name: own.refused for name, own in _in_table().items() if own.refused is not None}
    return json.loads(file.read_text(encoding="utf-8")) | rows


def why_refused(config: Any) -> str | None:
    """Why a run's model cannot be measured, and what to do instead; None: it can.

    Args:
        config: SimpleTuner's parsed configuration.
    """
    family = config.model_family
    own = known_families().get(family)
    if own is None and _is_registered(family):
        return None
    if own is not None:
        flavour = _flavour(config) if own.refused_flavours else None
        if flavour not in own.refused_flavours:
            return None
        what = f"model_flavour {flavour!r} of {family}"
        reason = own.refused_flavours[flavour]
    else:
        what = f"model_family {family!r}"
        reason = refused_families().get(family, "this plugin does not know it")
    known = ", ".join(known_families())
    return f"{what} cannot be measured ({reason}); known are {known}: {INSTEAD}"


def support() -> list[tuple[str, str]]:
    """Each of SimpleTuner's families, and whether it is measured or why it is not."""
    rows = {name: _status(name, own) for name, own in known_families().items()}
    rows |= {name: f"refused: {reason}" for name, reason in refused_families().items()}
    return sorted(rows.items())


def markdown_table() -> str:
    """What `support` says, as the page on SimpleTuner has it."""
    rows = [f"| `{name}` | {status} |" for name, status in support()]
    return "\n".join(["| model_family | |", "| --- | --- |", *rows])


def _in_table() -> dict[str, SimpleTuner]:
    files = (file.simpletuner for file in family_files())
    return {name: own for own in files if own is not None for name in (own.model_family, *own.also)}


def _status(name: str, own: SimpleTuner) -> str:
    status = SEEN if own.tried else COMPARED
    reasons = [f"not {flavour}: {reason}" for flavour, reason in own.refused_flavours.items()]
    reasons += [f"not with {name}: {reason}" for name, reason in own.refused_inputs.items()]
    if name in own.broken:
        reasons.append(f"SimpleTuner {SIMPLETUNER_VERSION} itself {own.broken[name]}")
    return "; ".join([status, *reasons])


def _is_registered(model_family: str) -> bool:
    """Whether the class of a family's transformer was registered."""
    name = getattr(getattr(_model(model_family), "MODEL_CLASS", None), "__name__", "")
    return any(family.holds(name, "simpletuner") for family in REGISTERED)


def _flavour(config: Any) -> str | None:
    """The flavour that SimpleTuner trains: its default, where it also chooses the model."""
    if config.model_flavour or config.pretrained_model_name_or_path:
        return config.model_flavour
    return getattr(_model(config.model_family), "DEFAULT_MODEL_FLAVOUR", None)


def _model(model_family: str) -> Any:
    from simpletuner.helpers.models.registry import ModelRegistry

    return ModelRegistry.get(model_family)
