"""Loads saved adapters with stock calls alone, and saves what the model then gives.

Run in a process of its own, with any version of peft on PYTHONPATH. It must import nothing of this
package: whoever gets the files has it neither.
"""

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoModel
from peft import PeftModel

way, base, folder, inputs, output = sys.argv[1:]
model: Any = AutoModel.from_pretrained(base).eval()
names = sorted(path.parent.name for path in Path(folder).glob("*/adapter_config.json"))
if way == "peft":
    model = PeftModel.from_pretrained(model, f"{folder}/{names[0]}", adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(f"{folder}/{name}", name)
    model.base_model.set_adapter(names)
elif way == "diffusers":
    for name in names:
        model.load_lora_adapter(
            f"{folder}/{name}",
            weight_name="adapter_model.safetensors",
            prefix="base_model.model",
            adapter_name=name,
        )
    model.set_adapters(names)
with torch.no_grad():
    result = model(**torch.load(inputs), return_dict=False)[0]
assert not any(name.startswith("lokr_weighting") for name in sys.modules)
torch.save({"result": result, "peft": metadata.version("peft")}, output)
