"""Norms and effective ranks are those of what the libraries themselves merge."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict

from lokr_weighting.targets import peft as weighted
from lokr_weighting.targets.lora import lora_config
from tests.targets.adapter.made import (
    assert_the_same,
    changed_by,
    changes_in,
    drawn,
    lycoris_of,
    saved,
)
from tests.targets.peft.test_adapters import plan_for
from tests.targets.test_conversion import lycoris_network
from tests.tiny_models import model_and_inputs

ANY = "*transformer_blocks.*"
LINEAR = "transformer_blocks.0.attn.to_q"


@pytest.mark.parametrize("kind", ["sd3", "sd3.5-medium", "flux", "auraflow"])
def test_a_lycoris_lokr_of_any_family_is_what_lycoris_merges(kind: str, tmp_path: Path) -> None:
    model, _ = model_and_inputs(kind)
    network = lycoris_network(model)
    file = saved(network, tmp_path / "lokr.safetensors")
    network.restore()
    changes = changes_in(file, model)
    assert_the_same(changes, changed_by(model, lambda: network.merge_to(1.0)))
    assert {name: change.parameters for name, change in changes.items()} == {
        linear.name: linear.parameters for linear in plan_for(model).linears
    }


@pytest.mark.parametrize("both", [False, True])
def test_a_factored_lokr_is_what_its_forward_adds(both: bool, tmp_path: Path) -> None:
    """LyCORIS's own merge applies the scale of these twice; its forward and every loader once."""
    model, _ = model_and_inputs("sd3")
    entry = {"algo": "lokr", "factor": 4, "dim": 1, "alpha": 0.5, "decompose_both": both}
    network = lycoris_of(model, {"transformer_blocks.*": entry}, decompose_both=both)
    file = saved(network, tmp_path / "lokr.safetensors")
    names = {name.replace(".", "_"): name for name, _ in model.named_modules()}
    added = {
        names[each.lora_name.removeprefix("lycoris_")]: each.get_weight(each.shape)
        .detach()
        .double()
        for each in network.loras
    }
    changes = changes_in(file, model)
    assert any("lokr_w2_a" in change.tensors for change in changes.values())
    assert any("lokr_w1_a" in change.tensors for change in changes.values()) == both
    assert_the_same(changes, added)


def test_a_lycoris_lora_is_what_lycoris_merges(tmp_path: Path) -> None:
    model, _ = model_and_inputs("sd3")
    entry = {"algo": "locon", "dim": 3, "alpha": 2}
    network = lycoris_of(model, {"transformer_blocks.*": entry}, algo="locon")
    file = saved(network, tmp_path / "lora.safetensors")
    network.restore()
    changes = changes_in(file, model)
    assert {change.algorithm for change in changes.values()} == {"LoRA"}
    assert_the_same(changes, changed_by(model, lambda: network.merge_to(1.0)))


def test_linears_that_were_fused_are_found_in_the_model_that_has_them_apart(
    tmp_path: Path,
) -> None:
    model: Any
    model, _ = model_and_inputs("flux")
    apart = copy.deepcopy(model)
    model.fuse_qkv_projections()
    entry = {"algo": "lokr", "factor": 2, "full_matrix": True}
    network = lycoris_of(model, {"*to_qkv": entry, "*to_added_qkv": entry})
    file = saved(network, tmp_path / "lokr.safetensors")
    network.restore()
    merged = changed_by(model, lambda: network.merge_to(1.0))
    assert {name.rpartition(".")[2] for name in merged} == {"to_qkv", "to_added_qkv"}
    assert_the_same(changes_in(file, apart), merged)


def test_weighted_peft_adapters_are_what_peft_merges(tmp_path: Path) -> None:
    model, _ = model_and_inputs("flux")
    fresh = copy.deepcopy(model)
    wrapped = drawn(weighted.get_peft_model(model, plan_for(model), r=1_000_000, alpha=500_000))
    weighted.save_pretrained(wrapped, tmp_path / "adapter")
    changes = changes_in(tmp_path / "adapter", fresh)
    plain = weighted.load(copy.deepcopy(fresh), tmp_path / "adapter")
    merged = weighted.merge(plain)
    before = dict(fresh.named_parameters())
    assert_the_same(
        changes,
        {
            name.removesuffix(".weight"): each.double() - before[name].double()
            for name, each in merged.named_parameters()
            if not torch.equal(each, before[name])
        },
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 4, "lora_alpha": 2},
        {"r": 4, "lora_alpha": 2, "use_rslora": True},
        {
            "r": 4,
            "lora_alpha": 8,
            "rank_pattern": {f"^{LINEAR}": 2, "ff.net.2": 3},
            "alpha_pattern": {"attn.to_k": 1},
        },
    ],
)
def test_a_peft_lora_is_what_peft_merges(settings: dict[str, Any], tmp_path: Path) -> None:
    model: Any
    model, _ = model_and_inputs("sd3")
    fresh = copy.deepcopy(model)
    targets = ["to_q", "to_k", "ff.net.2", "pos_embed.proj"]
    wrapped: Any = get_peft_model(model, LoraConfig(target_modules=targets, **settings))
    drawn(wrapped)
    wrapped.save_pretrained(tmp_path / "adapter")
    changes = changes_in(tmp_path / "adapter", fresh)
    assert "pos_embed.proj" in changes  # a convolution outside the blocks
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    assert changes_in(file, fresh) == changes
    merged = wrapped.merge_and_unload()
    before = dict(fresh.named_parameters())
    assert_the_same(
        changes,
        {
            name.removesuffix(".weight"): each.detach().double() - before[name].detach().double()
            for name, each in merged.named_parameters()
            if not torch.equal(each, before[name])
        },
    )


def test_diffusers_own_files_have_the_scale_of_their_header(tmp_path: Path) -> None:
    model: Any
    model, _ = model_and_inputs("sd3")
    fresh = copy.deepcopy(model)
    model.add_adapter(LoraConfig(r=4, lora_alpha=1, target_modules=["to_q", "to_k"]))
    drawn(model)
    model.save_lora_adapter(tmp_path / "model")
    config = model.peft_config["default"].to_dict()
    tensors: dict[str, Any] = get_peft_model_state_dict(model)
    StableDiffusion3Pipeline.save_lora_weights(
        tmp_path / "pipeline",
        tensors,
        transformer_lora_adapter_metadata=config | {"target_modules": ["to_q", "to_k"]},
    )
    StableDiffusion3Pipeline.save_lora_weights(tmp_path / "none", tensors)
    changes, of_pipeline, without = (
        changes_in(tmp_path / name / "pytorch_lora_weights.safetensors", fresh)
        for name in ("model", "pipeline", "none")
    )
    assert changes == of_pipeline
    # without a header diffusers takes alpha to be the rank
    assert all(without[name].norm == pytest.approx(4 * changes[name].norm) for name in changes)
    merged = changed_by(model, lambda: model.fuse_lora())
    assert_the_same(changes, merged)


def test_the_planned_lora_has_the_plans_ranks(tmp_path: Path) -> None:
    from lokr_weighting.models.skeleton import skeleton_of
    from lokr_weighting.targets.adapter import differences_of, open_adapter

    model: Any
    model, _ = model_and_inputs("sd3")
    fresh, plan = skeleton_of(model), plan_for(model)
    wrapped: Any = get_peft_model(model, lora_config(plan))
    wrapped.save_pretrained(tmp_path / "adapter")
    with open_adapter(tmp_path / "adapter", fresh) as adapter:
        changes = dict(adapter.changes())
    assert all(change.norm == change.used == 0 for change in changes.values())
    assert differences_of(plan, changes) == []
    first = next(iter(changes))
    del changes[first]
    assert differences_of(plan, changes) == [f"{first.name} is planned but not adapted"]
