"""The plan as stock peft adapters: configured, added, saved, loaded, merged."""

from lokr_weighting.targets.peft.adapters import (
    adapter_names,
    add_adapter,
    get_peft_model,
    load,
    load_into,
    load_lora_adapter,
    made_tensors,
    merge,
    save_pretrained,
    state_dicts,
)
from lokr_weighting.targets.peft.layout import configs, write_configs
from lokr_weighting.targets.peft.memory import save_memory

__all__ = [
    "adapter_names",
    "add_adapter",
    "configs",
    "get_peft_model",
    "load",
    "load_into",
    "load_lora_adapter",
    "made_tensors",
    "merge",
    "save_memory",
    "save_pretrained",
    "state_dicts",
    "write_configs",
]
