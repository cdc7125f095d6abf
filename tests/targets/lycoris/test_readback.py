from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import SD3Transformer2DModel
from lycoris import LycorisNetwork
from torch import nn

from lokr_weighting import Recipe, make_plan
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.targets.lycoris import LycorisConfig, config_of, read_config
from lokr_weighting.targets.lycoris.readback import read_back
from tests.conftest import random_heatmaps

STATE = (
    "ENABLE_CONV",
    "TARGET_REPLACE_MODULE",
    "TARGET_REPLACE_NAME",
    "LORA_PREFIX",
    "MODULE_ALGO_MAP",
    "NAME_ALGO_MAP",
    "USE_FNMATCH",
    "TARGET_EXCLUDE_NAME",
)


@pytest.fixture
def plan_config(small: SD3Transformer2DModel) -> dict[str, Any]:
    plan = make_plan(random_heatmaps(12), small, Recipe(max_factor=5))
    return config_of(plan).written()


@pytest.fixture(autouse=True)
def lycoris_state_is_never_touched() -> Iterator[None]:
    LycorisNetwork.apply_preset({"target_name": ["left by somebody else"], "use_fnmatch": True})
    before = {key: getattr(LycorisNetwork, key) for key in STATE}
    yield
    assert {key: getattr(LycorisNetwork, key) for key in STATE} == before


def changed(config: dict[str, Any], **preset: Any) -> LycorisConfig:
    return LycorisConfig.model_validate(config | {"apply_preset": config["apply_preset"] | preset})


def without(config: dict[str, Any], key: str) -> LycorisConfig:
    preset = {k: v for k, v in config["apply_preset"].items() if k != key}
    return LycorisConfig.model_validate(config | {"apply_preset": preset})


def test_our_configuration_is_exact(
    small: SD3Transformer2DModel, plan_config: dict[str, Any]
) -> None:
    found = read_back(small, LycorisConfig.model_validate(plan_config))
    assert found.exact
    assert found.counts == {"exact": 165, "wrong": 0, "missing": 0, "unasked": 0}


def test_the_published_configuration_does_not_do_what_it_says(published_config: Path) -> None:
    found = read_back(empty_transformer("sd3.5-large"), read_config(published_config))
    assert not found.exact
    assert found.counts == {"exact": 178, "wrong": 351, "missing": 0, "unasked": 0}
    assert round(found.made_parameters / 1e6) == 1123
    assert round(found.asked_parameters / 1e6) == 766
    assert "set target_module to []" in found.faults["JointTransformerBlock"]
    assert not found.notes


def test_a_class_that_takes_named_modules_is_found(
    small: SD3Transformer2DModel, plan_config: dict[str, Any]
) -> None:
    found = read_back(small, changed(plan_config, target_module=["JointTransformerBlock"]))
    assert found.counts["wrong"] > 100
    assert list(found.faults) == ["JointTransformerBlock"]


def test_modules_adapted_that_nobody_named_are_found(
    small: SD3Transformer2DModel, plan_config: dict[str, Any]
) -> None:
    found = read_back(small, without(plan_config, "target_module"))
    assert found.counts["exact"] == 165
    unasked = [module.name for module in found.modules if module.status == "unasked"]
    assert "proj_out" in unasked
    assert not any(name.startswith("transformer_blocks") for name in unasked)


def test_a_pattern_that_matches_nothing_is_found(
    small: SD3Transformer2DModel, plan_config: dict[str, Any]
) -> None:
    names = plan_config["apply_preset"]["name_algo_map"]
    found = read_back(
        small, changed(plan_config, name_algo_map=names | {"double_blocks.*": {"factor": 2}})
    )
    assert found.faults == {"double_blocks.*": "matches nothing that can be adapted"}
    assert not found.exact


def test_a_pattern_after_a_more_general_one_is_found(
    small: SD3Transformer2DModel, plan_config: dict[str, Any]
) -> None:
    names = plan_config["apply_preset"]["name_algo_map"]
    found = read_back(small, changed(plan_config, name_algo_map=dict(reversed(names.items()))))
    assert "comes after transformer_blocks.0.*" in found.faults["transformer_blocks.0.ff*"]
    assert len(found.faults) == 36


def test_patterns_read_as_prefixes_are_found(
    small: SD3Transformer2DModel, plan_config: dict[str, Any]
) -> None:
    found = read_back(small, changed(plan_config, use_fnmatch=False))
    assert "comes after transformer_blocks.1.*" in found.faults["transformer_blocks.10.*"]
    assert not found.exact


def test_a_module_that_lycoris_skips_is_found() -> None:
    """Both Linears would be called lycoris_a_b_c, so LyCORIS keeps the first alone."""
    with torch.device("meta"):
        model = nn.ModuleDict(
            {
                "a": nn.ModuleDict({"b_c": nn.Linear(8, 8)}),
                "a_b": nn.ModuleDict({"c": nn.Linear(8, 8)}),
            }
        )
    config = {"algo": "lokr", "apply_preset": {"name_algo_map": {"a.*": {}, "a_b.*": {}}}}
    found = read_back(model, changed(config, target_module=[]))
    assert [(x.name, x.status) for x in found.modules] == [("a.b_c", "exact"), ("a_b.c", "missing")]


def test_the_class_form_that_trainers_document_is_exact(small: SD3Transformer2DModel) -> None:
    found = read_back(
        small,
        LycorisConfig.model_validate(
            {
                "algo": "lokr",
                "linear_dim": 4,
                "apply_preset": {
                    "target_module": ["Attention"],
                    "module_algo_map": {"Attention": {"factor": 4}, "FeedForward": {"factor": 2}},
                },
            }
        ),
    )
    assert found.exact
    assert {module.source for module in found.modules} == {"Attention", "FeedForward"}


@pytest.mark.parametrize("algo", ["lora", "loha", "full", "glora", "ia3", "diag-oft", "dylora"])
def test_other_algorithms_are_read_back_too(small: SD3Transformer2DModel, algo: str) -> None:
    config = {
        "algo": algo,
        "linear_dim": 8,
        "apply_preset": {
            "target_module": [],
            "name_algo_map": {"transformer_blocks.*.attn.to_q": {"dim": 4, "algo": algo}},
            "use_fnmatch": True,
        },
    }
    found = read_back(small, LycorisConfig.model_validate(config))
    assert found.counts["exact"] == len(found.modules) == 12
    assert found.made_parameters > 0
