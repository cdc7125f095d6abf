"""sd-scripts' names: what is joined there, and what is not known there.

The names and classes of Flux.1-dev, SD3-Medium, SD3.5-Medium and SD3.5-Large were held against
sd-scripts' own classes at commit 48d368f: all the same. It is no library, so that is not run here.
"""

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.targets.kohya.lora import check_flux
from lokr_weighting.targets.kohya.names import linears, stand_in


@pytest.mark.parametrize(
    ("model", "counts"),
    [
        ("sd3-medium", {1: 189, 3: 48}),
        ("sd3.5-medium", {1: 202, 3: 61}),
        ("sd3.5-large", {1: 301, 3: 76}),
        ("flux.1-dev", {1: 228, 3: 38, 4: 38}),
    ],
)
def test_every_linear_is_in_one_of_sd_scripts(model: str, counts: dict[int, int]) -> None:
    skeleton = load_skeleton(model)
    own = {linear.name: linear for linear in block_linears(skeleton)}
    there = linears(skeleton)
    assert sorted(name for linear in there for name in linear.joins) == sorted(own)
    found = [len(linear.joins) for linear in there]
    assert {count: found.count(count) for count in {*found}} == counts
    for linear in there:
        parts = [own[name] for name in linear.joins]
        assert linear.out_features == sum(part.out_features for part in parts)
        assert {part.in_features for part in parts} == {linear.in_features}
        assert {part.block for part in parts} == {linear.block}
        assert {part.stream for part in parts} == {linear.stream}


def test_the_stand_in_has_these_linears_and_those_outside_the_blocks() -> None:
    skeleton = load_skeleton("flux.1-dev")
    found = {
        name: (module.arguments["out_features"], module.arguments["in_features"])
        for name, module in stand_in(skeleton).named_modules()
        if module.base == "Linear"
    }
    for linear in linears(skeleton):
        assert found.pop(linear.name) == linear.shape
    assert sorted(found) == [
        "final_layer.adaLN_modulation.1",
        "final_layer.linear",
        "guidance_in.in_layer",
        "guidance_in.out_layer",
        "img_in",
        "time_in.in_layer",
        "time_in.out_layer",
        "txt_in",
        "vector_in.in_layer",
        "vector_in.out_layer",
    ]
    classes = {name: each.class_name for name, each in stand_in(skeleton).named_modules()}
    assert classes["double_blocks.18"] == "DoubleStreamBlock"
    assert classes["single_blocks.37"] == "SingleStreamBlock"


def test_a_model_that_is_not_known_there_is_refused_by_name() -> None:
    with pytest.raises(LokrWeightingError, match="calls the Linears of AuraFlowTransformer2DModel"):
        linears(load_skeleton("auraflow-v0.3"))
    with pytest.raises(LokrWeightingError, match="kohya-lora is for Flux alone"):
        check_flux(load_skeleton("sd3.5-large"))


def test_a_linear_that_is_not_known_there_is_refused_by_name() -> None:
    skeleton = load_skeleton("sd3-medium")
    list_ = skeleton.children["transformer_blocks"]
    extra = Skeleton(
        "Linear", "torch", "Linear", {"in_features": 4, "out_features": 4, "bias": True}
    )
    first = list_.children["0"]
    block = Skeleton(first.class_name, first.library, children={**first.children, "extra": extra})
    wider = Skeleton(list_.class_name, list_.library, children={**list_.children, "0": block})
    model = Skeleton(
        skeleton.class_name,
        skeleton.library,
        children={**skeleton.children, "transformer_blocks": wider},
    )
    with pytest.raises(LokrWeightingError, match=r"blocks\.0\.extra: nothing is known that it is"):
        linears(model)
