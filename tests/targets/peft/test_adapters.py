import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError, Plan, Recipe, make_plan
from lokr_weighting.models.blocks import block_names
from lokr_weighting.targets import peft as weighted
from lokr_weighting.targets.peft import made_tensors
from lokr_weighting.targets.peft.adapters import _check_made
from lokr_weighting.targets.peft.layout import read_configs
from lokr_weighting.targets.tensors import differences_from_plan
from tests.conftest import random_heatmaps
from tests.tiny_models import model_and_inputs

KINDS = ("sd3", "sd3.5-medium", "flux", "auraflow")
ROOT = Path(__file__).parents[3]
VERSIONS = {"0.18.1": str(ROOT / ".peft" / "0.18.1"), "newest": ""}


def plan_for(model: nn.Module, budget: str | None = None) -> Plan:
    """A plan with several splits."""
    heatmaps = random_heatmaps(len(block_names(model)))
    return make_plan(heatmaps, model, Recipe(max_factor=8), budget=budget)


def output(model: nn.Module, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return model.eval()(**inputs, return_dict=False)[0]


def trained(model: nn.Module, inputs: dict[str, Any], steps: int = 8) -> list[float]:
    """Train what is trainable towards a random target; the losses."""
    target = torch.randn(output(model, inputs).shape, generator=torch.Generator().manual_seed(1))
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    losses = []
    model.train()
    for _ in range(steps):
        loss = nn.functional.mse_loss(model(**inputs, return_dict=False)[0], target)
        optimizer.zero_grad()
        loss.backward()
        assert all(each.grad is not None for each in parameters)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("kind", KINDS)
def test_every_module_gets_the_plans_split(kind: str) -> None:
    model, _ = model_and_inputs(kind)
    plan = plan_for(model)
    wrapped = weighted.get_peft_model(model, plan)
    assert differences_from_plan(plan, made_tensors(wrapped.get_base_model())) == []
    trainable = {
        name: each.numel() for name, each in wrapped.named_parameters() if each.requires_grad
    }
    assert sum(trainable.values()) == plan.parameters
    assert all("lokr_" in name for name in trainable)


def test_a_plan_of_another_model_is_refused() -> None:
    plan = plan_for(model_and_inputs("sd3")[0])
    model, _ = model_and_inputs("flux")
    for way in (weighted.get_peft_model, weighted.add_adapter):
        with pytest.raises(LokrWeightingError, match="there and not in this Flux"):
            way(model, plan)
    assert not hasattr(model, "peft_config")


def test_a_new_adapter_changes_nothing() -> None:
    model, inputs = model_and_inputs("sd3")
    before = output(model, inputs)
    assert torch.equal(output(weighted.get_peft_model(model, plan_for(model)), inputs), before)


@pytest.mark.parametrize("kind", KINDS)
def test_trained_saved_and_loaded_it_is_the_same(kind: str, tmp_path: Path) -> None:
    model, inputs = model_and_inputs(kind)
    fresh = [copy.deepcopy(model) for _ in range(3)]
    wrapped = weighted.get_peft_model(model, plan_for(model))
    losses = trained(wrapped, inputs)
    assert losses[-1] < losses[0]
    expected = output(wrapped, inputs)
    weighted.save_pretrained(wrapped, tmp_path / "adapter")

    loaded = weighted.load(fresh[0], tmp_path / "adapter")
    assert torch.equal(output(loaded, inputs), expected)
    assert not any(each.requires_grad for each in loaded.parameters())

    weighted.load_lora_adapter(fresh[1], tmp_path / "adapter")
    assert torch.equal(output(fresh[1], inputs), expected)
    assert (output(fresh[2], inputs) - expected).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("way", ["peft", "diffusers"])
def test_stock_libraries_load_it_in_a_fresh_process(way: str, version: str, tmp_path: Path) -> None:
    model: Any
    model, inputs = model_and_inputs("sd3")
    model.save_pretrained(tmp_path / "base")
    torch.save(inputs, tmp_path / "inputs.pt")
    wrapped = weighted.get_peft_model(model, plan_for(model))
    trained(wrapped, inputs)
    weighted.save_pretrained(wrapped, tmp_path / "adapter")
    arguments = [way, *(str(tmp_path / name) for name in ("base", "adapter", "inputs.pt", "out"))]
    subprocess.run(
        [sys.executable, str(ROOT / "tests" / "stock_peft.py"), *arguments],
        env=os.environ | {"PYTHONPATH": VERSIONS[version]},
        check=True,
    )
    found = torch.load(tmp_path / "out")
    if version != "newest":
        assert found["peft"] == version
    assert (found["result"] - output(wrapped, inputs)).abs().max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_diffusers_own_way_makes_and_saves_the_same(kind: str, tmp_path: Path) -> None:
    model, inputs = model_and_inputs(kind)
    fresh = [copy.deepcopy(model) for _ in range(2)]
    model.requires_grad_(False)
    plan = plan_for(model)
    names = weighted.add_adapter(model, plan)
    losses = trained(model, inputs)
    assert losses[-1] < losses[0]
    expected = output(model, inputs)
    weighted.save_pretrained(model, tmp_path / "adapter")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == sorted(names)
    assert torch.equal(output(weighted.load(fresh[0], tmp_path / "adapter"), inputs), expected)
    weighted.load_lora_adapter(fresh[1], tmp_path / "adapter")
    assert torch.equal(output(fresh[1], inputs), expected)


@pytest.mark.parametrize("way", ["peft", "diffusers"])
def test_merged_it_gives_the_same(way: str, tmp_path: Path) -> None:
    model, inputs = model_and_inputs("sd3")
    names = {name for name, _ in model.named_parameters()}
    fresh = copy.deepcopy(model)
    wrapped = weighted.get_peft_model(model, plan_for(model))
    trained(wrapped, inputs)
    expected = output(wrapped, inputs)
    if way == "diffusers":
        weighted.save_pretrained(wrapped, tmp_path / "adapter")
        weighted.load_lora_adapter(fresh, tmp_path / "adapter")
        merged = weighted.merge(fresh)
    else:
        merged = weighted.merge(wrapped)
    assert (output(merged, inputs) - expected).abs().max() < 1e-5
    assert {name for name, _ in merged.named_parameters()} == names


def test_training_goes_on_from_a_saved_adapter(tmp_path: Path) -> None:
    model, inputs = model_and_inputs("sd3")
    fresh = copy.deepcopy(model)
    wrapped = weighted.get_peft_model(model, plan_for(model))
    first = trained(wrapped, inputs)
    weighted.save_pretrained(wrapped, tmp_path / "adapter")
    loaded = weighted.load(fresh, tmp_path / "adapter", is_trainable=True)
    trainable = sum(each.numel() for each in loaded.parameters() if each.requires_grad)
    assert trainable == plan_for(model_and_inputs("sd3")[0]).parameters
    second = trained(loaded, inputs)
    assert second[0] < first[-1]
    assert second[-1] < second[0]


@pytest.mark.slow
def test_two_processes_train_in_step() -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [sys.executable, *command, "-m", "tests.ddp_peft"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same"]
    assert found["apart"] < 1e-4


def test_adapters_of_another_plan_are_not_loaded_into_a_model(tmp_path: Path) -> None:
    model, inputs = model_and_inputs("sd3")
    fresh = copy.deepcopy(model)
    wrapped = weighted.get_peft_model(model, plan_for(model))
    trained(wrapped, inputs)
    weighted.save_pretrained(wrapped, tmp_path / "adapter")
    same = weighted.get_peft_model(copy.deepcopy(fresh), plan_for(fresh))
    weighted.load_into(same, tmp_path / "adapter")
    assert torch.equal(output(same, inputs), output(wrapped, inputs))
    other = weighted.get_peft_model(fresh, plan_for(fresh, "uniform:4"))
    with pytest.raises(LokrWeightingError, match=r"is of another plan|adapters, the model"):
        weighted.load_into(other, tmp_path / "adapter")


def test_state_dicts_hold_every_adapter() -> None:
    model, inputs = model_and_inputs("sd3")
    wrapped = weighted.get_peft_model(model, plan_for(model))
    trained(wrapped, inputs, steps=1)
    found = weighted.state_dicts(wrapped)
    assert list(found) == list(wrapped.peft_config)
    expected = sum(each.numel() for each in wrapped.parameters() if each.requires_grad)
    assert sum(each.numel() for part in found.values() for each in part.values()) == expected


def test_a_part_of_an_adapter_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    model, _ = model_and_inputs("sd3")
    fresh = copy.deepcopy(model)
    wrapped = weighted.get_peft_model(model, plan_for(model))
    folder = tmp_path / "adapter"
    weighted.save_pretrained(wrapped, folder)
    first, second, *_ = sorted(folder.iterdir())
    with pytest.raises(LokrWeightingError, match="is one of several adapters; give the folder"):
        weighted.load(fresh, first)
    with pytest.raises(ValueError, match=r"adapter_config\.json"):
        PeftModel.from_pretrained(fresh, str(folder))
    second.rename(tmp_path / "elsewhere")
    for load in (weighted.load, weighted.load_lora_adapter):
        with pytest.raises(LokrWeightingError, match="number 2 is missing"):
            load(fresh, folder)
    with pytest.raises(LokrWeightingError, match="holds no weighted adapters"):
        weighted.load(fresh, tmp_path / "nothing")
    with pytest.raises(LokrWeightingError, match="the model: holds no weighted adapters"):
        weighted.merge(fresh)


def test_written_configurations_are_stock_and_complete(tmp_path: Path) -> None:
    model, _ = model_and_inputs("flux")
    plan = plan_for(model)
    names = weighted.write_configs(plan, tmp_path, "a/model")
    configs = read_configs(tmp_path)
    assert list(configs) == names
    wrapped: Any = None
    from peft import get_peft_model

    for name, config in configs.items():
        assert config.base_model_name_or_path == "a/model"
        if wrapped is None:
            wrapped = get_peft_model(model, config, adapter_name=name)  # pyright: ignore
        else:
            wrapped.add_adapter(name, config)
    assert differences_from_plan(plan, made_tensors(wrapped.get_base_model())) == []


@pytest.mark.slow
def test_the_largest_published_plan_is_a_few_stock_adapters() -> None:
    from lokr_weighting import load_reference
    from lokr_weighting.models.known import empty_transformer

    model = empty_transformer("sd3.5-large")
    plan = make_plan(load_reference("sd3.5-large"), model)
    wrapped = weighted.get_peft_model(model, plan)
    assert len({each.split for each in plan.linears}) > 10
    assert len(wrapped.peft_config) == 8


def test_modules_that_are_not_the_plans_are_named() -> None:
    model, _ = model_and_inputs("sd3")
    wrapped = weighted.get_peft_model(model, plan_for(model, "uniform:2"))
    other = plan_for(model_and_inputs("sd3")[0], "uniform:8")
    with pytest.raises(LokrWeightingError, match="peft did not make what was planned: "):
        _check_made(other, wrapped.get_base_model())
