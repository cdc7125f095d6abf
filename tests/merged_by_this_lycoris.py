"""Run in a fresh process per LyCORIS version: saves adapters, and what they change.

Into the folder that it is given: the model, and for each kind of adapter its file and the changes
that its forward adds to the weights.
"""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tests.targets.adapter.made import lycoris_of, saved
from tests.tiny_models import model_and_inputs

KINDS: dict[str, dict[str, Any]] = {
    "full": {"algo": "lokr", "factor": 4, "full_matrix": True},
    "factored": {"algo": "lokr", "factor": 4, "dim": 1, "alpha": 0.5},
    "lora": {"algo": "locon", "dim": 3, "alpha": 2},
}


def main(folder: Path) -> None:
    """Write, and say which LyCORIS did."""
    for kind, entry in KINDS.items():
        model: Any
        model, _ = model_and_inputs("sd3")
        if not (folder / "model").exists():
            model.save_pretrained(folder / "model")
        names = {name.replace(".", "_"): name for name, _ in model.named_modules()}
        network = lycoris_of(model, {"transformer_blocks.*": entry}, algo=entry["algo"])
        saved(network, folder / f"{kind}.safetensors")
        changes = {}
        for each in network.loras:
            name = names[each.lora_name.removeprefix("lycoris_")]
            if kind == "lora":
                added = each.get_diff_weight(1.0)[0]
            else:
                # the merge of these applies the scale twice
                added = each.get_weight(model.get_submodule(name).weight.shape)
            changes[name] = added.detach().contiguous()
        save_file(changes, folder / f"{kind}.changes")
    sys.stdout.write(version("lycoris-lora"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
