"""A small model's adapter, block by block, against the merged weights."""

import copy
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.skeleton import skeleton_of
from lokr_weighting.studies.changes import AdapterStudy
from lokr_weighting.studies.inspection import study_adapter
from lokr_weighting.targets.adapter import read
from tests.targets.adapter.made import changed_by, lycoris_of, saved
from tests.targets.peft.test_adapters import plan_for
from tests.targets.test_conversion import lycoris_network
from tests.tiny_models import model_and_inputs


def made(kind: str, folder: Path) -> tuple[Any, AdapterStudy, dict[str, torch.Tensor]]:
    """A model, what its plan's LoKr did, and what merging it changes."""
    model: Any
    model, _ = model_and_inputs(kind)
    model.save_pretrained(folder / "transformer")
    before = copy.deepcopy(model)
    network = lycoris_network(model)
    file = saved(network, folder / "lokr.safetensors")
    network.restore()
    merged = changed_by(model, lambda: network.merge_to(1.0))
    study = study_adapter(
        file,
        skeleton_of(before),
        kind,
        weights=folder / "transformer",
        plan=plan_for(before),
    )
    return before, study, merged


@pytest.mark.parametrize("kind", ["sd3", "flux", "auraflow"])
def test_every_block_and_stream_is_what_was_merged_there(kind: str, tmp_path: Path) -> None:
    model, study, merged = made(kind, tmp_path)
    weights = dict(model.named_parameters())
    linears = block_linears(model)
    assert {(each.block, each.stream) for each in study.blocks} == {
        (each.block, each.stream) for each in linears
    }
    for block in study.blocks:
        own = [x for x in linears if (x.block, x.stream) == (block.block, block.stream)]
        norm = math.hypot(*(float(merged[each.name].norm()) for each in own))
        weight = math.hypot(
            *(float(weights[f"{each.name}.weight"].detach().double().norm()) for each in own)
        )
        assert block.norm == pytest.approx(norm, rel=1e-5)
        assert block.relative == pytest.approx(norm / weight, rel=1e-5)
        assert (block.adapted, block.linears) == (len(own), len(own))
        assert block.planned == block.parameters > 0
        assert 0 < block.used <= 1
    assert study.differences == ()
    assert study.parameters == plan_for(model).parameters
    assert len(study.as_json()["linears"]) == len(linears) == len(study.linears)
    streams = {"sd3": {"image", "text"}, "flux": {"image", "text", None}}
    assert {each.stream for each in study.blocks} == streams.get(kind, streams["flux"])


def test_fused_linears_stand_beside_what_the_plan_gave_their_parts(tmp_path: Path) -> None:
    model: Any
    model, _ = model_and_inputs("flux")
    model.save_pretrained(tmp_path / "transformer")
    skeleton, plan = skeleton_of(model), plan_for(model)
    model.fuse_qkv_projections()
    entry = {"algo": "lokr", "factor": 2, "full_matrix": True}
    file = saved(lycoris_of(model, {"*qkv": entry}), tmp_path / "lokr.safetensors")
    study = study_adapter(file, skeleton, "flux", weights=tmp_path / "transformer", plan=plan)
    planned = {linear.name: linear.parameters for linear in plan.linears}
    own = dict(model.named_parameters())
    for linear in study.linears:
        names = {"to_qkv": ("to_q", "to_k", "to_v")}.get(
            linear.name.rpartition(".")[2], ("add_q_proj", "add_k_proj", "add_v_proj")
        )
        parent = linear.name.rpartition(".")[0]
        assert linear.planned == sum(planned[f"{parent}.{name}"] for name in names)
        weight = own[f"{linear.name}.weight"].detach().double().norm()
        assert linear.weight == pytest.approx(float(weight))
        assert linear.stream == (
            None
            if linear.name.startswith("single")
            else "text"
            if "added" in linear.name
            else "image"
        )
    assert any("is planned but not adapted" in each for each in study.differences)
    assert not any("attn.to_q " in each for each in study.differences)


def test_an_adapter_of_another_plan_is_said_to_be_none_of_this(tmp_path: Path) -> None:
    model, _, _ = made("sd3", tmp_path)
    other = plan_for(model, budget="uniform:2")
    study = study_adapter(tmp_path / "lokr.safetensors", skeleton_of(model), "sd3", plan=other)
    assert any("is planned as" in each and "but becomes" in each for each in study.differences)
    assert study.weights is None
    assert all(each.relative is None for each in study.linears)


def test_what_changes_nothing_uses_nothing(tmp_path: Path) -> None:
    model, study, _ = made("sd3", tmp_path)
    tensors = load_file(tmp_path / "lokr.safetensors")
    silent = {key: 0 * each if "lokr_w2" in key else each for key, each in tensors.items()}
    save_file(silent, tmp_path / "silent.safetensors")
    still = study_adapter(tmp_path / "silent.safetensors", skeleton_of(model), "sd3")
    assert {(each.norm, each.used) for each in still.blocks} == {(0.0, 0.0)}
    assert {use.rho for use in still.uses} == {None}
    assert still.parameters == study.parameters


def test_one_weight_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file's size, no more than a weight's own tensors is read at once."""
    model, _, _ = made("sd3", tmp_path)
    alive: list[weakref.ref[torch.Tensor]] = []
    most = 0
    original = read._tensor

    def watched(module: Any, key: str) -> torch.Tensor:
        nonlocal most
        tensor = original(module, key)
        alive.append(weakref.ref(tensor))
        most = max(most, sum(each() is not None for each in alive))
        return tensor

    monkeypatch.setattr(read, "_tensor", watched)
    study_adapter(tmp_path / "lokr.safetensors", skeleton_of(model), "sd3")
    assert len(alive) > 100
    assert most <= 2 * 3  # a module's w1, w2 and alpha, and those of the one before
