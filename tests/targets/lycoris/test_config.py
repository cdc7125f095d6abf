import json
from pathlib import Path

import pytest
from diffusers import SD3Transformer2DModel

from lokr_weighting import LokrWeightingError, Plan, load_reference, make_plan
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.targets.lycoris import (
    LycorisConfig,
    added_by,
    config_of,
    read_config,
    write_config,
)
from lokr_weighting.targets.lycoris.readback import read_back
from lokr_weighting.targets.tensors import differences_from_plan, parameters
from tests.conftest import random_heatmaps

MODEL = empty_transformer("sd3.5-large")


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(load_reference("sd3.5-large"), MODEL)


def test_patterns_and_factors_are_the_published_ones(plan: Plan, published_config: Path) -> None:
    def factors(config: LycorisConfig) -> dict[str, int]:
        assert config.apply_preset is not None
        return {key: value["factor"] for key, value in config.apply_preset.name_algo_map.items()}

    assert factors(config_of(plan)) == factors(read_config(published_config))


def test_the_form_is_the_one_that_works(plan: Plan) -> None:
    preset = config_of(plan).written()["apply_preset"]
    assert preset["target_module"] == preset["target_name"] == []
    assert preset["use_fnmatch"] is True
    assert set(preset) == {
        "enable_conv",
        "target_module",
        "target_name",
        "module_algo_map",
        "name_algo_map",
        "lora_prefix",
        "use_fnmatch",
        "exclude_name",
    }
    patterns = list(preset["name_algo_map"])
    assert patterns[:4] == [
        f"transformer_blocks.0.{x}*" for x in ("norm1_context", "norm1", "ff", "")
    ]


def test_a_written_configuration_reads_back_the_same(plan: Plan, tmp_path: Path) -> None:
    write_config(tmp_path / "c.json", config_of(plan))
    assert read_config(tmp_path / "c.json").written() == config_of(plan).written()


def test_a_templates_other_settings_are_kept_and_take_effect(plan: Plan) -> None:
    template = LycorisConfig.model_validate(
        {
            "algo": "lokr",
            "multiplier": 1,
            "linear_dim": 10000,
            "linear_alpha": 3,
            "factor": 16,
            "dora_wd": True,
            "bypass_mode": False,
            "rank_dropout": 0.1,
            "apply_preset": {"target_module": ["Attention"], "lora_prefix": "mine"},
        }
    )
    added = added_by(template)
    with pytest.raises(LokrWeightingError, match="the plan counts 0; make the plan with added="):
        config_of(plan, template)
    plan = make_plan(load_reference("sd3.5-large"), MODEL, added=added)
    config = config_of(plan, template)
    written = config.written()
    for key in ("linear_dim", "linear_alpha", "factor", "dora_wd", "bypass_mode", "rank_dropout"):
        assert written[key] == template.written()[key]
    assert written["apply_preset"]["lora_prefix"] == "mine"
    assert written["apply_preset"]["target_module"] == []
    found = read_back(MODEL, config)
    assert found.exact
    assert differences_from_plan(plan, found.made) == []
    # DoRA trains one more number for each output feature
    extra = sum(linear.out_features for linear in plan.linears)
    splits = sum(linear.split.parameters for linear in plan.linears)
    assert found.made_parameters == plan.parameters == splits + extra
    assert all(parameter.is_meta for parameter in MODEL.parameters())


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"algo": "locon"}, "algo is 'locon'"),
        ({"algo": "lokr", "unbalanced_factorization": True}, "unbalanced_factorization"),
        ({"algo": "lokr", "train_norm": True}, "train_norm trains the norms"),
        (
            {"algo": "lokr", "apply_preset": {"exclude_name": ["transformer_blocks.3.*"]}},
            r"'transformer_blocks.3.\*' leaves out 14 Linears",
        ),
    ],
)
def test_a_template_that_would_make_the_plan_untrue_is_refused(
    plan: Plan, template: dict[str, object], message: str
) -> None:
    with pytest.raises(LokrWeightingError, match=message):
        config_of(plan, LycorisConfig.model_validate(template))


@pytest.mark.parametrize("budget", ["3M", "6MiB", "uniform:8"])
@pytest.mark.parametrize(
    "settings",
    [
        {"dora_wd": True},
        {"dora_wd": True, "wd_on_output": False},
        {"use_scalar": True},
        {"dora_wd": None, "use_scalar": "true"},
        {"use_tucker": True, "decompose_both": True, "linear_dim": 2, "conv_dim": 4},
        {"bypass_mode": True, "dropout": 0.1, "preset": "attn-mlp"},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_a_budget_counts_all_that_lycoris_makes_of_a_template(
    settings: dict[str, object], budget: str, small: SD3Transformer2DModel
) -> None:
    template = LycorisConfig.model_validate({"algo": "lokr", "linear_dim": 9999} | settings)
    plan = make_plan(random_heatmaps(12), small, budget=budget, added=added_by(template))
    found = read_back(small, config_of(plan, template))
    assert found.exact
    assert differences_from_plan(plan, found.made) == []
    assert found.made_parameters == plan.parameters
    added = plan.parameters - sum(linear.split.parameters for linear in plan.linears)
    assert added == sum(
        parameters({key: shape for key, shape in tensors.items() if "lokr_w" not in key})
        for tensors in found.made.values()
    )
    bare = make_plan(random_heatmaps(12), small, budget=budget)
    most = {"3M": 3_000_000, "6MiB": bare.parameters, "uniform:8": bare.parameters + added}[budget]
    assert 0.9 * most < plan.parameters <= most


def test_a_budget_that_what_is_added_exceeds_alone_is_answered_with_both(
    small: SD3Transformer2DModel,
) -> None:
    doras = added_by(LycorisConfig.model_validate({"algo": "lokr", "dora_wd": True}))
    with pytest.raises(LokrWeightingError, match="of them added by the template's settings"):
        make_plan(random_heatmaps(12), small, budget="40K", added=doras)


def test_a_longer_name_for_the_files_tensors_does_not_fit_a_files_budget(
    small: SD3Transformer2DModel,
) -> None:
    template = LycorisConfig.model_validate(
        {"algo": "lokr", "apply_preset": {"lora_prefix": "a_prefix_of_many_letters"}}
    )
    for budget, fits in (("6MiB", False), ("3M", True)):
        plan = make_plan(random_heatmaps(12), small, budget=budget)
        if fits:
            config_of(plan, template)
        else:
            with pytest.raises(LokrWeightingError, match="give the budget in parameters"):
                config_of(plan, template)


def test_a_preset_key_that_lycoris_does_not_know_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(json.dumps({"algo": "lokr", "apply_preset": {"target_modules": []}}))
    with pytest.raises(LokrWeightingError, match=r"unknown key 'apply_preset\.target_modules'"):
        read_config(file)
