"""Every option of peft's is honoured in every adapter, or refused by name."""

import dataclasses
from typing import Any

import pytest
from peft import LoKrConfig
from torch import nn

from lokr_weighting import LokrWeightingError
from lokr_weighting.targets import peft as weighted
from lokr_weighting.targets.peft.options import HONOURED, REFUSED, checked_options
from tests.targets.peft.test_adapters import plan_for
from tests.tiny_models import model_and_inputs


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return model_and_inputs("sd3")[0]


def test_this_pefts_every_option_is_one_or_the_other() -> None:
    fields = {field.name for field in dataclasses.fields(LoKrConfig)}
    assert {*HONOURED} <= fields
    assert fields <= {*HONOURED, *REFUSED}
    assert not {*HONOURED} & {*REFUSED}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rank_dropout", 0.25),
        ("rank_dropout_scale", True),
        ("module_dropout", 0.5),
        ("init_weights", True),
        ("base_model_name_or_path", "a/model"),
        ("revision", "main"),
    ],
)
def test_an_option_is_every_adapters(model: nn.Module, name: str, value: Any) -> None:
    adapters = weighted.configs(plan_for(model), **{name: value})
    assert len(adapters) > 1
    assert {getattr(config, name) for config in adapters.values()} == {value}


def test_a_layer_has_the_dropout_that_was_asked_for() -> None:
    fresh, _ = model_and_inputs("sd3")
    wrapped = weighted.get_peft_model(fresh, plan_for(fresh), rank_dropout=0.25, module_dropout=0.5)
    layers: list[Any] = [each for each in wrapped.modules() if hasattr(each, "module_dropout")]
    assert layers
    for layer in layers:
        assert {*layer.rank_dropout.values()} == {0.25}
        assert {*layer.module_dropout.values()} == {0.5}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_by_name_and_nothing_is_wrapped(
    model: nn.Module, name: str
) -> None:
    for way in (weighted.get_peft_model, weighted.add_adapter):
        with pytest.raises(LokrWeightingError, match=f"^{name} = 'x': "):
            way(model, plan_for(model), **{name: "x"})
    assert not hasattr(model, "peft_config")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 4}, "rank: peft's LoKr has no such option; a plan's adapters take r, alpha"),
        ({"alpha": 16}, "alpha = 16: peft scales by alpha / r, so both are wanted"),
        ({"r": 16}, "r = 16: peft scales by alpha / r, so both are wanted"),
        ({"r": 2, "alpha": 2}, r"r = 2: a plan's matrices are full, which peft makes them from r"),
    ],
)
def test_what_would_be_another_adapter_is_refused(
    model: nn.Module, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(LokrWeightingError, match=message):
        checked_options(plan_for(model), options)


def test_the_smallest_r_makes_full_matrices() -> None:
    fresh, _ = model_and_inputs("sd3")
    plan = plan_for(fresh)
    largest = max(max(linear.split.out_k, linear.split.in_n) for linear in plan.linears)
    least = -(-largest // 2)
    weighted.get_peft_model(fresh, plan, r=least, alpha=least)
    with pytest.raises(LokrWeightingError, match=f"from r = {least} on"):
        checked_options(plan, {"r": least - 1, "alpha": 1})
