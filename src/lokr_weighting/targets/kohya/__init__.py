"""The plan for kohya's sd-scripts: its models' own names, LyCORIS presets, ranks of its LoRA."""

from lokr_weighting.targets.kohya.lora import lora_settings
from lokr_weighting.targets.kohya.names import linears, stand_in
from lokr_weighting.targets.kohya.preset import preset_of

__all__ = ["linears", "lora_settings", "preset_of", "stand_in"]
