"""Every family's plan, from a calibration to what LyCORIS and peft really put into the model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lycoris import LycorisNetwork, create_lycoris
from peft.tuners.lokr.layer import LoKrLayer
from torch import Tensor, nn

from lokr_weighting import Plan, Stop, calibrate, make_plan
from lokr_weighting.models.table import family_files
from lokr_weighting.targets.lycoris import config_of
from lokr_weighting.targets.peft import get_peft_model
from lokr_weighting.targets.registry import LYCORIS
from tests import tiny_models
from tests.families.kind import DOUBLE, SINGLE
from tests.families.tiny import TINY, model_and_inputs
from tests.families.unets import UNETS

Small = tuple[nn.Module, Callable[[], dict[str, Any]], list[str]]
"""A small model, what draws inputs for it, and its block lists' paths."""
Made = dict[str, tuple[Tensor, Tensor]]
"""A module's full name -> the two matrices that it got."""
LISTS = {
    "sd3": [DOUBLE],
    "sd3.5-medium": [DOUBLE],
    "flux": [DOUBLE, SINGLE],
    "auraflow": ["joint_transformer_blocks", SINGLE],
}
"""The first families' small models, made with their pipelines."""
CHANGES: dict[str, dict[str, Any]] = {
    # its experts run without gradients otherwise, as if never trained
    "HiDreamImageTransformer2DModel": {"force_inference_output": False}
}
QUERIES, OUT = "attn.add_q_proj", "attn.to_add_out"
IDLE = {
    **{kind: {f"transformer_blocks.5.{QUERIES}"} for kind in ("sd3", "sd3.5-medium")},
    "QwenImageTransformer2DModel": {
        f"transformer_blocks.1.{name}"
        for name in (QUERIES, OUT, "txt_mlp.net.0.proj", "txt_mlp.net.2")
    },
    "HunyuanVideo15Transformer3DModel": {
        f"transformer_blocks.1.{name}"
        for name in (QUERIES, OUT, "ff_context.net.0.proj", "ff_context.net.2")
    },
    "MochiTransformer3DModel": {"transformer_blocks.1.attn1.add_q_proj"},
}
"""A class -> what no gradient reaches: its last block's text goes nowhere."""
NAMES = (*LISTS, *TINY, *UNETS)


def small(name: str) -> Small:
    """The small model of that name."""
    if name in LISTS:
        model, inputs = tiny_models.model_and_inputs(name)
        return model, lambda: inputs, LISTS[name]
    if name in UNETS:
        return UNETS[name].build(), UNETS[name].inputs, list(UNETS[name].lists)
    model, _ = model_and_inputs(name, **CHANGES.get(name, {}))
    return model, TINY[name].inputs, list(TINY[name].reads)


def planned(model: nn.Module, inputs: Callable[[], dict[str, Any]]) -> Plan:
    """A plan of a calibration of the model."""

    def forward(model: nn.Module, _batch: Tensor, _times: Tensor) -> None:
        model(**inputs())

    calibration = calibrate(model, [torch.zeros(2)], forward, stop=Stop(samples=20))
    return make_plan(calibration, model)


def adapted_by_hand(model: nn.Module, lists: list[str]) -> set[str]:
    """Every Linear and convolution inside the block lists."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return {
        f"{path}.{name}"
        for path in lists
        for name, module in model.get_submodule(path).named_modules()
        if isinstance(module, kinds)
    }


def into_lycoris(model: nn.Module, plan: Plan) -> Made:
    """Put the plan's configuration into the model as trainers do."""
    names = {id(module): name for name, module in model.named_modules()}
    config = config_of(plan).written()
    LycorisNetwork.apply_preset(config.pop("apply_preset"))
    order = ("multiplier", "linear_dim", "linear_alpha")
    network: Any = create_lycoris(model, *(config.pop(key) for key in order), **config)
    network.apply_to()
    assert all(set(each.state_dict()) == {"lokr_w1", "lokr_w2", "alpha"} for each in network.loras)
    return {names[id(each.org_module[0])]: (each.lokr_w1, each.lokr_w2) for each in network.loras}


def into_peft(model: nn.Module, plan: Plan) -> Made:
    """Put the plan's adapters into the model."""
    layers: dict[str, Any] = {
        name: module
        for name, module in get_peft_model(model, plan).get_base_model().named_modules()
        if isinstance(module, LoKrLayer)
    }
    assert sum(each.requires_grad for each in model.parameters()) == 2 * len(layers)
    return {name: (*each.lokr_w1.values(), *each.lokr_w2.values()) for name, each in layers.items()}


def without_gradient(model: nn.Module, inputs: dict[str, Any], made: Made) -> set[str]:
    """The modules that a step of training would not change, with matrices drawn at random."""
    with torch.no_grad():
        for pair in made.values():
            for matrix in pair:
                matrix.normal_(std=0.05)
    total = sum(each.square().sum() for each in _tensors(model.train()(**inputs)))
    assert isinstance(total, Tensor)
    total.backward()
    return {
        name
        for name, pair in made.items()
        if not all(matrix.grad is not None and matrix.grad.any() for matrix in pair)
    }


def _tensors(output: Any) -> list[Tensor]:
    """Every tensor of an output."""
    if isinstance(output, Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [tensor for part in parts for tensor in _tensors(part)]


@pytest.mark.parametrize("name", NAMES)
def test_lycoris_and_peft_put_exactly_the_plan_into_every_familys_model(name: str) -> None:
    model, inputs, lists = small(name)
    plan = planned(model, inputs)
    assert {linear.name for linear in plan.linears} == adapted_by_hand(model, lists)
    assert len({linear.split for linear in plan.linears}) > 1
    weights = {
        linear.name: model.get_submodule(linear.name).weight.shape for linear in plan.linears
    }
    said = LYCORIS.prepare(plan, model, None).read_back
    assert said is not None
    assert f"all {len(plan.linears)} modules as planned" in said
    for put_into in (into_lycoris, into_peft):
        model, _, _ = small(name)
        made = put_into(model, plan)
        assert made.keys() == weights.keys()
        for linear in plan.linears:
            one, other = made[linear.name]
            (out_l, in_m), (out_k, in_n, *kernel) = one.shape, other.shape
            assert (out_l, out_k, in_m, in_n) == tuple(linear.split)
            assert (out_l * out_k, in_m * in_n, *kernel) == weights[linear.name]
        assert without_gradient(model, inputs(), made) == IDLE.get(name, set())


def test_no_familys_class_is_left_out() -> None:
    own = {type(small(name)[0]).__name__ for name in (*LISTS, *UNETS)}
    assert own | set(TINY) == {each for file in family_files() for each in file.classes}
