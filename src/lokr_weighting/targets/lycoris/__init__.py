"""The plan as a LyCORIS configuration, and what LyCORIS makes of any configuration."""

from lokr_weighting.targets.lycoris.config import (
    LycorisConfig,
    Preset,
    added_by,
    config_of,
    read_config,
    write_config,
)

__all__ = ["LycorisConfig", "Preset", "added_by", "config_of", "read_config", "write_config"]
