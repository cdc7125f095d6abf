"""Prints the distances of SimpleTuner's own transformers and of diffusers', with equal weights.

Run in a process of its own: importing SimpleTuner changes logging and standard output.
"""

import json
import sys
from importlib import import_module
from typing import Any

import lokr_weighting_simpletuner.families  # noqa: F401 (registers them)
import torch
from torch import nn

from lokr_weighting import Probe
from lokr_weighting.models.blocks import block_linears
from tests.tiny_models import model_and_inputs

CLASSES = {
    "sd3": ("sd3", "SD3Transformer2DModel"),
    "sd3.5-medium": ("sd3", "SD3Transformer2DModel"),
    "flux": ("flux", "FluxTransformer2DModel"),
    "auraflow": ("auraflow", "AuraFlowTransformer2DModel"),
}


def measured(model: nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, object]:
    """What the probe and the table say of a model."""
    with Probe(model) as probe, torch.no_grad():
        model(**inputs)
        found = probe.take()
    return {
        "image": found.image.tolist(),
        "text": found.text[:, found.has_text].tolist(),
        "image_last": found.image_last.tolist(),
        "has_text": found.has_text.tolist(),
        "linears": [(each.name, each.pattern, each.base) for each in block_linears(model)],
    }


def compared(kind: str) -> dict[str, object]:
    """The same weights and inputs in both libraries' classes."""
    reference, inputs = model_and_inputs(kind)
    family, name = CLASSES[kind]
    own_class = getattr(import_module(f"simpletuner.helpers.models.{family}.transformer"), name)
    config: Any = reference.config
    own = own_class.from_config(dict(config))
    own.load_state_dict(reference.state_dict())
    return {"own": measured(own.eval(), inputs), "diffusers": measured(reference, inputs)}


if __name__ == "__main__":
    found = {kind: compared(kind) for kind in CLASSES}
    with open(sys.argv[1], "w") as file:  # noqa: PTH123
        json.dump(found, file)
