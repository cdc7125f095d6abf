import copy
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from lycoris import create_lycoris_from_weights
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.targets import peft as weighted
from lokr_weighting.targets.conversion import lycoris_to_peft, peft_to_lycoris
from lokr_weighting.targets.lycoris import config_of
from tests.conftest import Run
from tests.targets.peft.test_adapters import output, plan_for, trained
from tests.targets.peft.test_memory import apart
from tests.tiny_models import model_and_inputs

KINDS = ("sd3", "sd3.5-medium", "flux", "auraflow")


def lycoris_network(model: nn.Module, **settings: Any) -> Any:
    """A LyCORIS network of the model's plan with random tensors, applied as SimpleTuner does."""
    from lycoris import LycorisNetwork, create_lycoris

    config = config_of(plan_for(model)).written() | settings
    preset = config.pop("apply_preset")
    if settings:
        for entry in preset["name_algo_map"].values():
            entry |= {"full_matrix": False, "dim": settings["linear_dim"], "alpha": 2}
    LycorisNetwork.apply_preset(preset)
    multiplier, dim, alpha = (
        config.pop(key) for key in ("multiplier", "linear_dim", "linear_alpha")
    )
    network = create_lycoris(model, multiplier, dim, alpha, **config)
    network.apply_to()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1)
    return network.eval()


def saved_by_lycoris(model: nn.Module, file: Path, **settings: Any) -> dict[str, Tensor]:
    network = lycoris_network(model, **settings)
    tensors = network.state_dict()
    save_file(tensors, file)
    return tensors


@pytest.mark.parametrize("kind", KINDS)
def test_a_lycoris_file_becomes_adapters_and_back_exactly(kind: str, tmp_path: Path) -> None:
    model, inputs = model_and_inputs(kind)
    fresh = [copy.deepcopy(model) for _ in range(3)]
    tensors = saved_by_lycoris(model, tmp_path / "lycoris.safetensors")
    expected = output(model, inputs)

    lycoris_to_peft(tmp_path / "lycoris.safetensors", fresh[0], tmp_path / "adapter")
    weighted.load_lora_adapter(fresh[0], tmp_path / "adapter")
    assert apart(output(fresh[0], inputs), expected) < 1e-6
    loaded = weighted.load(fresh[1], tmp_path / "adapter")
    assert apart(output(loaded, inputs), expected) < 1e-6

    peft_to_lycoris(tmp_path / "adapter", tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        if not name.endswith(".alpha"):
            assert torch.equal(back[name], tensor)
    network, _ = create_lycoris_from_weights(1.0, str(tmp_path / "back.safetensors"), fresh[2])
    network.apply_to()
    assert apart(output(fresh[2], inputs), expected) < 1e-6


@pytest.mark.parametrize(("kind", "prefix"), [("sd3", "lycoris_"), ("auraflow", "transformer.")])
def test_files_for_comfyui_have_the_names_that_it_knows(
    kind: str, prefix: str, tmp_path: Path
) -> None:
    """It has no LyCORIS names for AuraFlow; `transformer.` and dots it has, which we read too."""
    model, _ = model_and_inputs(kind)
    saved_by_lycoris(model, tmp_path / "lycoris.safetensors")
    again, _ = model_and_inputs(kind)
    lycoris_to_peft(tmp_path / "lycoris.safetensors", again, tmp_path / "adapter")
    peft_to_lycoris(tmp_path / "adapter", tmp_path / "comfyui.safetensors", comfyui=True)
    tensors = load_file(tmp_path / "comfyui.safetensors")
    assert all(key.startswith(prefix) for key in tensors)
    if kind == "auraflow":
        names = {name for name, _ in again.named_modules()}
        assert {key.removeprefix(prefix).rpartition(".")[0] for key in tensors} <= names
    lycoris_to_peft(tmp_path / "comfyui.safetensors", again, tmp_path / "back")
    peft_to_lycoris(tmp_path / "back", tmp_path / "back.safetensors")
    peft_to_lycoris(tmp_path / "adapter", tmp_path / "same.safetensors")
    back, same = (load_file(tmp_path / f"{name}.safetensors") for name in ("back", "same"))
    assert back.keys() == same.keys()
    assert all(torch.equal(back[key], same[key]) for key in same)


def test_lycoris_own_merge_of_low_rank_has_too_little_effect_and_converted_it_is_right(
    tmp_path: Path,
) -> None:
    """The footgun: `merge_to` takes the scale twice; full matrices have scale 1."""
    model, inputs = model_and_inputs("sd3")
    base = copy.deepcopy(model)
    before = output(model, inputs)
    network = lycoris_network(model, full_matrix=False, linear_dim=3, linear_alpha=2)
    save_file(network.state_dict(), tmp_path / "lycoris.safetensors")
    trained_by = output(model, inputs)
    lora = next(each for each in network.loras if each.scale != 1)
    weight = lora.org_module[0].weight
    whole = lora.get_weight(weight.shape)  # what the forward adds to the weight
    merged, _ = lora.get_merged_weight(1.0, weight.shape)
    ratio = ((merged - weight).norm() / whole.norm()).item()
    if version("lycoris-lora").startswith("4.1."):
        assert ratio == pytest.approx(lora.scale, rel=1e-4)

    lycoris_to_peft(tmp_path / "lycoris.safetensors", base, tmp_path / "adapter")
    converted = weighted.load(base, tmp_path / "adapter")
    assert apart(trained_by, before) > 1e-3
    assert apart(output(converted, inputs), trained_by) < 1e-5
    assert apart(output(weighted.merge(converted), inputs), trained_by) < 1e-5


def test_low_rank_and_its_scale_are_kept(tmp_path: Path) -> None:
    model, inputs = model_and_inputs("sd3")
    fresh = [copy.deepcopy(model) for _ in range(2)]
    settings = {"full_matrix": False, "linear_dim": 3, "linear_alpha": 2}
    tensors = saved_by_lycoris(model, tmp_path / "lycoris.safetensors", **settings)
    assert any(name.endswith("lokr_w2_a") for name in tensors)
    expected = output(model, inputs)
    lycoris_to_peft(tmp_path / "lycoris.safetensors", fresh[0], tmp_path / "adapter")
    weighted.load_lora_adapter(fresh[0], tmp_path / "adapter")
    assert apart(output(fresh[0], inputs), expected) < 1e-6
    peft_to_lycoris(tmp_path / "adapter", tmp_path / "back.safetensors")
    network, _ = create_lycoris_from_weights(1.0, str(tmp_path / "back.safetensors"), fresh[1])
    network.apply_to()
    assert apart(output(fresh[1], inputs), expected) < 1e-6


@pytest.mark.parametrize(
    "options",
    [{}, {"r": 1_000_000, "alpha": 250_000}],
    ids=["scale 1", "scale into w1"],
)
def test_an_adapter_trained_with_peft_is_the_same_in_lycoris(
    options: dict[str, int], tmp_path: Path
) -> None:
    model, inputs = model_and_inputs("sd3")
    fresh = copy.deepcopy(model)
    wrapped = weighted.get_peft_model(model, plan_for(model), **options)
    trained(wrapped, inputs)
    weighted.save_pretrained(wrapped, tmp_path / "adapter")
    peft_to_lycoris(tmp_path / "adapter", tmp_path / "lycoris.safetensors")
    network, _ = create_lycoris_from_weights(1.0, str(tmp_path / "lycoris.safetensors"), fresh)
    network.apply_to()
    assert apart(output(fresh, inputs), output(wrapped, inputs)) < 1e-6


def test_every_module_has_the_keys_that_comfyui_reads(tmp_path: Path) -> None:
    """ComfyUI maps lycoris_MODULE_WITH_UNDERSCORES; without an alpha its trainer fails."""
    model, inputs = model_and_inputs("flux")
    wrapped = weighted.get_peft_model(model, plan_for(model))
    trained(wrapped, inputs, steps=1)
    weighted.save_pretrained(wrapped, tmp_path / "adapter")
    peft_to_lycoris(tmp_path / "adapter", tmp_path / "lycoris.safetensors")
    tensors = load_file(tmp_path / "lycoris.safetensors")
    modules: dict[str, set[str]] = {}
    for key in tensors:
        module, _, kind = key.partition(".")
        assert re.fullmatch(r"lycoris_(single_)?transformer_blocks_\d+_[a-z0-9_]+", module)
        modules.setdefault(module, set()).add(kind)
    assert len(modules) == len(plan_for(model_and_inputs("flux")[0]).linears)
    assert all(kinds == {"lokr_w1", "lokr_w2", "alpha"} for kinds in modules.values())


def test_what_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    model, _ = model_and_inputs("sd3")
    other, _ = model_and_inputs("flux")
    fresh = copy.deepcopy(model)
    file = tmp_path / "lycoris.safetensors"
    tensors = saved_by_lycoris(model, file)
    with pytest.raises(LokrWeightingError, match="has no such Linear; is this another model's"):
        lycoris_to_peft(file, other, tmp_path / "adapter")
    with pytest.raises(LokrWeightingError, match=r"in the file and .* in SD3"):
        lycoris_to_peft(file, empty_transformer("sd3-medium"), tmp_path / "adapter")
    name = next(iter(tensors)).partition(".")[0]
    save_file(tensors | {f"{name}.dora_scale": torch.ones(1)}, tmp_path / "dora.safetensors")
    with pytest.raises(LokrWeightingError, match="only plain LoKr can be converted"):
        lycoris_to_peft(tmp_path / "dora.safetensors", fresh, tmp_path / "adapter")
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(LokrWeightingError, match="is no safetensors file"):
        lycoris_to_peft(tmp_path / "text.safetensors", fresh, tmp_path / "adapter")
    with pytest.raises(LokrWeightingError, match="holds no weighted adapters"):
        peft_to_lycoris(tmp_path, tmp_path / "out.safetensors")
    assert not (tmp_path / "adapter").exists()


def test_the_command_converts_both_ways(cli: Any, tmp_path: Path) -> None:
    model: Any
    model, _ = model_and_inputs("sd3")
    model.save_pretrained("base")
    saved_by_lycoris(model, tmp_path / "lycoris.safetensors")
    done: Run = cli("convert", "lycoris.safetensors", "--model", "base", "-o", "adapter")
    assert done.code == 0, done.err
    assert "adapters for peft and diffusers (lokr_1of" in done.out
    done = cli("convert", "adapter", "-o", "back.safetensors")
    assert done.code == 0, done.err
    assert "81 modules" in done.out
    # the very same is no reason to refuse: a kill may have come after the last write
    assert cli("convert", "adapter", "-o", "back.safetensors").code == 0
    assert cli("convert", "lycoris.safetensors", "--model", "base", "-o", "adapter").code == 0
    (tmp_path / "other.safetensors").write_text("mine")
    done = cli("convert", "adapter", "-o", "comfyui.safetensors", "--for", "comfyui")
    assert "for ComfyUI (SD3, Flux, AuraFlow)" in done.out
    for arguments, message in {
        (
            "lycoris.safetensors",
            "--for",
            "comfyui",
            "-o",
            "x",
        ): "--for is for a .safetensors file that is written; convert it to peft adapters first",
        ("none.safetensors", "-o", "x"): "there is no such file or folder",
        ("lycoris.safetensors", "-o", "x"): "--model is needed",
        ("lycoris.safetensors", "--model", "base", "-o", "x.safetensors"): "becomes a folder",
        ("adapter", "-o", "x"): "become one file",
        ("adapter", "-o", "other.safetensors"): "--force replaces it",
        (
            "adapter",
            "--force",
            "-o",
            "adapter/lokr_1of1/adapter_model.safetensors",
        ): "write elsewhere",
    }.items():
        done = cli("convert", *arguments)
        assert done.code == 2
        assert message in done.err


def test_the_command_replaces_old_adapters_and_says_what_cannot_be_written(
    cli: Any, tmp_path: Path
) -> None:
    model: Any
    model, _ = model_and_inputs("sd3")
    model.save_pretrained("base")
    saved_by_lycoris(model, tmp_path / "lycoris.safetensors")
    old = tmp_path / "adapter" / "lokr_9of9"
    old.mkdir(parents=True)
    (old / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter" / "notes.txt").write_text("mine")
    arguments = ("lycoris.safetensors", "--model", "base", "-o")
    assert cli("convert", *arguments, "adapter").code == 2
    assert cli("convert", *arguments, "adapter", "--force").code == 0
    assert not old.exists()
    assert (tmp_path / "adapter" / "notes.txt").read_text() == "mine"
    assert cli("convert", "adapter", "-o", "back.safetensors").code == 0
    (tmp_path / "file").write_text("no folder")
    done = cli("convert", *arguments, "file/adapter")
    assert (done.code, "file/adapter: cannot be written" in done.err) == (3, True)
    assert not list(tmp_path.rglob(".*"))
