"""Write the classes of SimpleTuner's own transformers: a model's name -> its modules' classes.

Run: python own_classes.py FILE
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from lokr_weighting.models.known import SHIPPED, load_config
from lokr_weighting.models.skeleton import skeleton_of
from lokr_weighting.models.table import family_files

KNOWN = (
    *SHIPPED,
    *(name for file in family_files() if file.simpletuner for name in file.checkpoints),
)
"""The models whose modules' classes in SimpleTuner are known."""
ELSEWHERE = {"UNet2DConditionModel": ("unet_flowmap", "FlowMapUNet2DConditionModel")}
"""diffusers' class -> SimpleTuner's module and class, where they are not the family's own."""
EMPTY = {"sana": ("norm_out", "norm_out.norm", ".cross_norm")}
"""A family -> names of norms without weights, which its two libraries have each in its own way."""


def main(file: Path) -> None:
    """Build every known model from SimpleTuner's class, without weights."""
    found: dict[str, Any] = {}
    for name in KNOWN:
        config = load_config(name)
        class_name = config.pop("_class_name")
        (family,) = (
            each.simpletuner.model_family
            for each in family_files()
            if class_name in each.classes and each.simpletuner
        )
        place, own_name = ELSEWHERE.get(class_name, (f"{family}.transformer", class_name))
        module = importlib.import_module(f"simpletuner.helpers.models.{place}")
        with torch.device("meta"):
            model = skeleton_of(getattr(module, own_name).from_config(config))
        found[name] = {
            path: [each.class_name, {**each.arguments}] for path, each in model.named_modules()
        }
    file.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
