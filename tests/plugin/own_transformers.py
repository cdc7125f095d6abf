"""Prints the distances of SimpleTuner's own transformers, and those that they are held against.

The first three families' against diffusers' classes with equal weights; the others' against the
slow reference of `tests.families`.

Run in a process of its own: importing SimpleTuner changes logging and standard output.
"""

import json
import sys
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import torch
from torch import nn

from lokr_weighting import Probe
from lokr_weighting.models.blocks import block_linears, lists_of
from lokr_weighting.models.family import Family
from lokr_weighting.models.skeleton import skeleton_of
from lokr_weighting.models.table import family_files
from lokr_weighting.models.trainers import as_in
from lokr_weighting.studies.strategies import Kind, Strategy, executed
from tests.families import tiny
from tests.families.slow import distances, last_of, mean_of
from tests.pipelines.parts import drawn
from tests.pipelines.sdxl import sdxl
from tests.tiny_models import model_and_inputs

CLASSES = {
    "sd3": ("sd3", "SD3Transformer2DModel"),
    "sd3.5-medium": ("sd3", "SD3Transformer2DModel"),
    "flux": ("flux", "FluxTransformer2DModel"),
    "auraflow": ("auraflow", "AuraFlowTransformer2DModel"),
}
STRATEGIES: tuple[Kind, ...] = ("skip", "reverse", "parallel", "looped")
UNET = "FlowMapUNet2DConditionModel"


def measured(model: nn.Module, inputs: dict[str, Any]) -> dict[str, object]:
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


def ablated(own: nn.Module, reference: nn.Module, inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """What both classes make of the inputs, their blocks run otherwise: the largest difference."""
    found = []
    for blocks in lists_of(own):
        for strategy in (None, *(Strategy(kind, blocks.path, 0, 1) for kind in STRATEGIES)):
            mine, theirs = (made_by(model, inputs, strategy) for model in (own, reference))
            found.append(
                {
                    "strategy": strategy and strategy.label,
                    "apart": float((mine - theirs).abs().max()),
                    "moved": float((mine - made_by(own, inputs, None)).abs().max()),
                }
            )
    return found


def made_by(model: nn.Module, inputs: dict[str, Any], strategy: Strategy | None) -> torch.Tensor:
    """The model's output as it is, or under a strategy."""
    with torch.no_grad(), nullcontext() if strategy is None else executed(model, strategy):
        return model(**inputs, return_dict=False)[0]


def compared(kind: str) -> dict[str, object]:
    """The same weights and inputs in both libraries' classes."""
    reference, inputs = model_and_inputs(kind)
    family, name = CLASSES[kind]
    own_class = getattr(import_module(f"simpletuner.helpers.models.{family}.transformer"), name)
    config: Any = reference.config
    own = own_class.from_config(dict(config))
    own.load_state_dict(reference.state_dict())
    return {
        "own": measured(own.eval(), inputs),
        "diffusers": measured(reference, inputs),
        "ablated": ablated(own, reference.eval(), inputs),
    }


def unet() -> dict[str, object]:
    """The same of SDXL's UNet."""
    reference: Any = sdxl().unet.eval()
    drawn(reference)
    config: Any = reference.config
    own = getattr(import_module("simpletuner.helpers.models.unet_flowmap"), UNET)(**config)
    own.load_state_dict(reference.state_dict())
    inputs: dict[str, Any] = {
        "sample": torch.randn(2, 4, 8, 12),
        "timestep": torch.tensor([300, 800]),
        "encoder_hidden_states": torch.randn(2, 7, config.cross_attention_dim),
        "added_cond_kwargs": {"text_embeds": torch.randn(2, 32), "time_ids": torch.ones(2, 6)},
    }
    return {"own": measured(own.eval(), inputs), "diffusers": measured(reference, inputs)}


def others() -> list[tuple[str, Family]]:
    """SimpleTuner's `model_family` of every other family that is measured there, and its row."""
    return [
        (file.simpletuner.model_family, file.rows[0])
        for file in family_files()
        if file.simpletuner is not None and file.classes[0] in tiny.TINY
    ]


def held_against_slow(model_family: str, row: Family) -> dict[str, object]:
    """How far the probe is from the slow reference, and the modules that are not as expected."""
    name = row.classes[0]
    hand = tiny.TINY[name]
    reference, inputs = tiny.model_and_inputs(name)
    own_class = getattr(
        import_module(f"simpletuner.helpers.models.{model_family}.transformer"), name
    )
    own = own_class(**hand.config).eval()
    own.load_state_dict(reference.state_dict())
    # where blocks are not called, diffusers' model of equal weights is listened to
    expected = distances(reference if row.functions else own, inputs, hand.reads)
    with Probe(own) as probe, torch.no_grad():
        found = probe.measure(lambda: own(**inputs))
    pairs = []
    for place, (block, streams) in enumerate(expected.items()):
        image, text = hand.counted(block)
        for sample in range(2):
            numbers = found.image[sample, place], found.text[sample, place]
            for number, distance, real in zip(numbers, streams, (image, text), strict=True):
                pairs.append((float(number), mean_of(distance, real, sample)))
            if streams[1] is not None:
                last = found.text_last_real[sample, place]
                pairs.append((float(last), last_of(streams[1], text, sample)))
    modules = as_in(skeleton_of(reference), "simpletuner")
    assert modules is not None
    own_names = {path: each.class_name for path, each in skeleton_of(own).named_modules()}
    return {
        "blocks": [block.name for block in probe.blocks],
        "expected": list(expected),
        "pairs": pairs,
        "library": probe.family.library,
        "ablated": ablated(own, reference, inputs) if row.functions else [],
        "other classes": [
            path for path, each in modules.named_modules() if own_names.get(path) != each.class_name
        ],
    }


if __name__ == "__main__":
    found: dict[str, Any] = {kind: compared(kind) for kind in CLASSES}
    found["unet"] = unet()
    found["others"] = {name: held_against_slow(name, row) for name, row in others()}
    with open(sys.argv[1], "w") as file:  # noqa: PTH123
        json.dump(found, file)
