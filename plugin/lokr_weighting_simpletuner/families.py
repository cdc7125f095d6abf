"""Which of SimpleTuner's families can be measured."""

from lokr_weighting.models.table import family_files


def model_families() -> list[str]:
    """SimpleTuner's `model_family` of every family that the table knows there."""
    return [
        file.simpletuner.model_family for file in family_files() if file.simpletuner is not None
    ]
