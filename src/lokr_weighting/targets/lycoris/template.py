"""A user's own configuration as a template, refused early where a plan could not keep it."""

from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.targets.lycoris.config import LycorisConfig, check_settings, read_config
from lokr_weighting.targets.lycoris.keys import keys_without_effect


def read_template(path: Path) -> LycorisConfig:
    """Read a template; its patterns and classes make way for the plan's.

    Raises:
        LokrWeightingError: as `read_config`; it would make any plan untrue, or has a setting that
            nothing reads; names file and key.
    """
    template = read_config(path)
    try:
        check_settings(template)
    except LokrWeightingError as error:
        raise LokrWeightingError(f"{path}: {error}") from None
    settings = {key: value for key, value in template.written().items() if key != "apply_preset"}
    kept = LycorisConfig.model_validate(settings)
    for key, why in keys_without_effect(kept, in_simpletuner=True).items():
        raise LokrWeightingError(f"{path}: {key} has no effect: {why}; correct or remove it")
    return template
