"""What LyCORIS makes of a preset in sd-scripts, and of what is meant for others."""

import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lokr_weighting import LokrWeightingError, Plan, Recipe, make_plan, read_plan
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.targets import peft
from lokr_weighting.targets.kohya import linears, lora_settings, preset_of, stand_in
from lokr_weighting.targets.kohya.check import Ignored, check_kohya, read_preset
from lokr_weighting.targets.kohya.lora import ranks_found
from lokr_weighting.targets.kohya.preset import as_toml, build, write_preset
from lokr_weighting.targets.lora import lora_config, ranks
from lokr_weighting.targets.lycoris import config_of, write_config
from lokr_weighting.targets.registry import FORMATS, NotExact
from lokr_weighting.targets.tensors import differences_from_plan
from tests.conftest import Run, random_heatmaps

Cli = Callable[..., Run]


@pytest.fixture(scope="module")
def flux() -> Skeleton:
    return load_skeleton("flux.1-dev")


@pytest.fixture(scope="module")
def plan(flux: Skeleton) -> Plan:
    return make_plan(random_heatmaps(57), flux, budget="uniform:8", linears=linears(flux))


def test_lycoris_makes_of_a_preset_what_is_planned_and_nothing_else(
    flux: Skeleton, plan: Plan
) -> None:
    model = stand_in(flux).to_module()
    for dim in (4, 64, 100_000):  # whatever --network_dim says
        assert differences_from_plan(plan, build(model, preset_of(plan), dim).tensors) == []


def test_the_budget_counts_what_is_joined(flux: Skeleton, plan: Plan) -> None:
    apart = make_plan(random_heatmaps(57), flux, budget="uniform:8")
    joined = {linear.name.rpartition(".")[2] for linear in plan.linears if len(linear.joins) > 1}
    assert joined == {"qkv", "linear1"}
    assert 0.99 < plan.parameters / apart.parameters < 1.01
    linear1 = next(each for each in plan.linears if each.name == "single_blocks.0.linear1")
    assert linear1.parameters == linear1.split.parameters
    assert (linear1.out_features, linear1.base) == (3 * 3072 + 12288, True)


def test_a_preset_is_the_same_when_read_and_verifies_exact(
    flux: Skeleton, plan: Plan, tmp_path: Path
) -> None:
    write_preset(tmp_path / "preset.toml", plan)
    assert read_preset(tmp_path / "preset.toml") == preset_of(plan)
    checked = check_kohya(flux, tmp_path / "preset.toml")
    assert not isinstance(checked, Ignored)
    assert checked.exact
    assert checked.readback.made_parameters == plan.parameters


def test_a_text_is_the_same_in_toml() -> None:
    values = {
        "a b": ['"quoted"', "back\\slash", "tab\t", "ünïcode"],
        "one": [1],
        "none": [],
        "empty": {},
        "flat": {"x.y": True},
        "tables": {"joint_blocks.0": {"factor": 4, "scale": 0.5}},
    }
    assert tomllib.loads(as_toml(values)) == values


def test_a_preset_that_does_not_do_what_it_says_is_not_exact(
    flux: Skeleton, plan: Plan, tmp_path: Path
) -> None:
    preset = preset_of(plan)
    wrong = preset | {"unet_target_name": preset["unet_target_name"][1:], "target_name": ["x"]}
    wrong["name_algo_map"] = {
        name: {**entry, "factr": 2} for name, entry in preset["name_algo_map"].items()
    }
    (tmp_path / "preset.toml").write_text(as_toml(wrong))
    checked = check_kohya(flux, tmp_path / "preset.toml")
    assert not isinstance(checked, Ignored)
    # named in name_algo_map alone it is not adapted there
    assert checked.readback.counts["missing"] == 1
    assert checked.unread["target_name"].endswith("there it is unet_target_name")
    assert "did you mean factor?" in checked.unread["factr in 304 entries"]


def test_simpletuners_configuration_is_ignored_there_and_it_is_said(
    cli: Cli, flux: Skeleton, tmp_path: Path
) -> None:
    own = make_plan(random_heatmaps(57), flux, Recipe(max_factor=5))
    write_config(tmp_path / "peft_config.json", config_of(own))
    ignored = check_kohya(flux, tmp_path / "peft_config.json")
    assert isinstance(ignored, Ignored)
    assert ignored.modules != len(own.linears)
    assert ignored.parameters < own.parameters / 10
    run = cli("verify", "peft_config.json", "--model", "flux.1-dev", "--trainer", "kohya")
    assert run.code == 1
    assert "in kohya's sd-scripts LyCORIS ignores it" in run.out
    assert "Make a plan with --target kohya." in run.out
    run = cli("verify", "peft_config.json", "--model", "flux.1-dev", "--trainer", "kohya", "--json")
    assert (run.code, run.json["ignored"]) == (1, True)
    assert run.json["made_parameters"] == ignored.parameters


def test_the_command_line_writes_reads_back_and_verifies(cli: Cli, tmp_path: Path) -> None:
    run = cli("plan", "--reference", "sd3.5-large", "--target", "kohya", "--blocks", "top:6")
    assert run.code == 0, run.err
    assert "by lycoris.kohya.create_network on modules with sd-scripts' names." in run.out
    assert "(qkv) are" in run.out
    assert (
        cli("verify", "kohya_preset.toml", "--model", "sd3.5-large", "--trainer", "kohya").code == 0
    )
    assert read_plan(tmp_path / "kohya_preset.plan.json").has_own_names
    # again, over what it wrote itself
    assert cli("plan", "--reference", "sd3.5-large", "--target", "kohya").code == 0
    refused = cli("plan", "--reference", "sd3.5-large", "--target", "kohya-lora")
    assert (refused.code, "kohya-lora is for Flux alone" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no preset in TOML"),
        ("unet_target_nam = []", "unet_target_nam"),
        ("x = 1" + " " * (16 << 20), "is too large to be a preset"),
    ],
)
def test_a_file_that_is_no_preset_is_refused_by_name(
    flux: Skeleton, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "preset.toml").write_text(text)
    with pytest.raises(LokrWeightingError, match=rf"preset\.toml: .*{said}"):
        check_kohya(flux, tmp_path / "preset.toml")
    with pytest.raises(LokrWeightingError, match=r"nowhere\.toml: No such file"):
        check_kohya(flux, tmp_path / "nowhere.toml")


def test_what_lycoris_refuses_is_said(flux: Skeleton) -> None:
    with pytest.raises(LokrWeightingError, match="LyCORIS refuses this preset"):
        build(stand_in(flux).to_module(), {"name_algo_map": [1]})


def test_a_plan_for_one_trainers_names_is_refused_for_the_others(
    flux: Skeleton, plan: Plan
) -> None:
    for other in (config_of, peft.configs, lora_config):
        with pytest.raises(LokrWeightingError, match="for a trainer whose model joins Linears"):
            other(plan)
    own = make_plan(random_heatmaps(57), flux)
    for there in (preset_of, lora_settings):
        with pytest.raises(LokrWeightingError, match="this plan is for diffusers' Linears"):
            there(own)
    with pytest.raises(LokrWeightingError, match="the recipe gradient goes by what each of"):
        make_plan(
            random_heatmaps(57), flux, Recipe(name="gradient"), budget="1M", linears=linears(flux)
        )


def test_a_plan_of_another_model_is_not_written(plan: Plan) -> None:
    other = load_skeleton("flux.1-dev")
    blocks = {**other.children["single_transformer_blocks"].children}
    del blocks["37"]
    shorter = replace(
        other,
        children={
            **other.children,
            "single_transformer_blocks": replace(
                other.children["single_transformer_blocks"], children=blocks
            ),
        },
    )
    with pytest.raises(NotExact, match="would not train this plan") as error:
        FORMATS["kohya"].prepare(plan, shorter.to_module(), None)
    assert "single_blocks.37.linear1 is planned but not adapted" in error.value.differences
    with pytest.raises(LokrWeightingError, match="sd-scripts' LoRA would give single_blocks"):
        FORMATS["kohya-lora"].prepare(plan, shorter.to_module(), None)


def test_ranks_are_the_plans_and_nothing_else_is_adapted(flux: Skeleton, plan: Plan) -> None:
    settings = json.loads(json.dumps(lora_settings(plan)))
    assert ranks_found(flux, settings) == ranks(plan)
    part = make_plan(
        random_heatmaps(57), flux, budget="10M", blocks="1,image", linears=linears(flux)
    )
    found = ranks_found(flux, lora_settings(part))
    assert {*found} == {linear.name for linear in part.linears}
    assert not any("double_blocks.10" in name or "txt" in name for name in found)
