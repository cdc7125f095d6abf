"""Which of SimpleTuner's families can be measured."""

from lokr_weighting.models.table import REGISTERED, family_files


def model_families() -> list[str]:
    """SimpleTuner's `model_family` of every family that the table knows there."""
    return [
        file.simpletuner.model_family for file in family_files() if file.simpletuner is not None
    ]


def is_known(model_family: str) -> bool:
    """Whether SimpleTuner's transformer of a family is in the table, or was registered."""
    if model_family in model_families():
        return True
    from simpletuner.helpers.models.registry import ModelRegistry

    own = ModelRegistry.get(model_family)
    name = getattr(getattr(own, "MODEL_CLASS", None), "__name__", "")
    return any(family.holds(name, "simpletuner") for family in REGISTERED)
