"""Broken, foreign and differently named files: refused in one line by their tensor, or read."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lokr_weighting import LokrWeightingError
from lokr_weighting.targets.conversion import lycoris_to_peft, peft_to_lycoris
from lokr_weighting.targets.peft.layout import saved_names
from lokr_weighting.targets.trained import read_lycoris, read_peft

NAME = "blocks.0.attn.to_q"
W1, W2 = torch.ones(4, 4), torch.ones(16, 16)
W2_A, W2_B = torch.ones(16, 3), torch.ones(3, 16)


@pytest.fixture
def model() -> nn.Module:
    attention = nn.ModuleDict({"to_q": nn.Linear(64, 64), "to_k": nn.Linear(128, 768)})
    block = nn.ModuleDict({"attn": attention})
    return nn.ModuleDict({"blocks": nn.ModuleList([block])})


def saved(
    tensors: dict[str, Tensor], folder: Path, module: str = "lycoris_blocks_0_attn_to_q"
) -> Path:
    file = folder / "adapter.safetensors"
    save_file({f"{module}.{kind}": tensor.clone() for kind, tensor in tensors.items()}, file)
    return file


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "holds no tensors"),
        ({"lokr_w1": W1}, "lokr_w2 is missing"),
        ({"lokr_w2": W2, "alpha": torch.tensor(1.0)}, "lokr_w1 is missing"),
        ({"alpha": torch.tensor(1.0)}, "lokr_w1 is missing"),
        ({"lokr_w1": W1, "lokr_w2_a": W2_A}, "lokr_w2_b is missing"),
        ({"lokr_w1": W1, "lokr_w2": W2, "lokr_w2_a": W2_A, "lokr_w2_b": W2_B}, "only one of them"),
        ({"lokr_w1": W1, "lokr_w2_a": W2_A, "lokr_w2_b": torch.ones(2, 16)}, "ranks do not match"),
        (
            {"lokr_w1": W1, "lokr_w2": torch.ones(16, 16, dtype=torch.int64)},
            "int64, which no weight is",
        ),
        ({"lokr_w1": W1, "lokr_w2": W2 * torch.nan}, "not finite"),
        ({"lokr_w1": W1 / 0, "lokr_w2": W2}, "not finite"),
        ({"lokr_w1": W1, "lokr_w2": torch.ones(256)}, "lokr_w2 has the shape .256.; .* two sides"),
        ({"lokr_w1": torch.ones(0, 4), "lokr_w2": W2}, "two sides"),
        ({"lokr_w1": W1, "lokr_w2": torch.ones(8, 16)}, r"\(32, 64\) in the file and \(64, 64\)"),
        ({"lokr_w1": W1, "lokr_w2": W2, "alpha": torch.tensor(torch.nan)}, "no finite number"),
        ({"lokr_w1": W1, "lokr_w2": W2, "alpha": torch.ones(2)}, "2 numbers; one is wanted"),
        ({"lokr_w1": W1, "lokr_w2": W2, "other": W1}, "no tensor of a LoKr is called so"),
        ({"lora_up.weight": W1, "lora_down.weight": W1, "alpha": W1}, "this is a LoRA; .*as it is"),
        ({"lora_A.weight": W1, "dora_scale": W1}, "this is a LoRA"),
        ({"lokr_w1": W1, "lokr_w2": W2, "dora_scale": W1}, "this is a DoRA"),
        ({"hada_w1_a": W1}, "this is a LoHa"),
        ({"diff": W1}, "full weights"),
        ({"lokr_w1": W1, "lokr_t2": W1}, "Tucker"),
    ],
)
def test_a_broken_or_foreign_file_is_refused_by_its_tensor(
    tensors: dict[str, Tensor], said: str, model: nn.Module, tmp_path: Path
) -> None:
    file = saved(tensors, tmp_path)
    with pytest.raises(LokrWeightingError, match=f"adapter.safetensors: .*{said}"):
        lycoris_to_peft(file, model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "module",
    [
        "lycoris_blocks_0_attn_to_q",
        "lora_unet_blocks_0_attn_to_q",
        "lora_transformer_blocks_0_attn_to_q",
        "transformer.blocks.0.attn.to_q",
        "diffusion_model.blocks.0.attn.to_q",
        "model.diffusion_model.blocks.0.attn.to_q",
        "base_model.model.blocks.0.attn.to_q",
        "blocks.0.attn.to_q",
        "blocks_0_attn_to_q",
    ],
)
def test_diffusers_names_are_found_behind_every_prefix(
    module: str, model: nn.Module, tmp_path: Path
) -> None:
    file = saved({"lokr_w1": W1, "lokr_w2_a": W2_A, "lokr_w2_b": W2_B}, tmp_path, module)
    assert list(read_lycoris(file, model)) == [NAME]


def test_another_models_names_are_refused_with_the_prefixes_that_are_known(
    model: nn.Module, tmp_path: Path
) -> None:
    file = saved({"lokr_w1": W1, "lokr_w2": W2}, tmp_path, "lora_unet_double_blocks_0_img_attn_qkv")
    with pytest.raises(LokrWeightingError, match=r"no such Linear.*lora_unet_, lora_transformer_"):
        read_lycoris(file, model)


def test_one_linear_under_two_names_is_refused(model: nn.Module, tmp_path: Path) -> None:
    both = {f"{name}.lokr_w1": W1.clone() for name in (NAME, "lycoris_blocks_0_attn_to_q")}
    save_file(both, tmp_path / "twice.safetensors")
    with pytest.raises(LokrWeightingError, match="this tensor twice"):
        read_lycoris(tmp_path / "twice.safetensors", model)


def test_factor_16_at_width_128_is_converted(model: nn.Module, tmp_path: Path) -> None:
    """LyCORIS makes (16, 48) x (8, 16) of it: peft does with another factor than 8 and 16."""
    w1, w2 = torch.randn(16, 8), torch.randn(48, 16)
    file = saved({"lokr_w1": w1, "lokr_w2": w2}, tmp_path, "lycoris_blocks_0_attn_to_k")
    lycoris_to_peft(file, model, tmp_path / "out")
    (factors,) = read_peft(tmp_path / "out").values()
    assert torch.equal(factors.tensors["lokr_w1"], w1)
    assert torch.equal(factors.tensors["lokr_w2"], w2)


def test_what_peft_cannot_make_is_said_to_be_so(model: nn.Module, tmp_path: Path) -> None:
    unbalanced = {"lokr_w1": torch.ones(16, 4), "lokr_w2": torch.ones(4, 16)}
    with pytest.raises(
        LokrWeightingError,
        match=r"peft makes it with no decompose_factor .was it trained with unbalanced",
    ):
        lycoris_to_peft(saved(unbalanced, tmp_path), model, tmp_path / "out")


def test_old_adapters_make_way_and_other_files_stay(model: nn.Module, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lycoris_to_peft(saved({"lokr_w1": W1, "lokr_w2": W2}, tmp_path), model, out)
    for old in ("lokr_1of3", "lokr_3of3"):
        (out / "lokr_1of1").rename(out / old)
        lycoris_to_peft(saved({"lokr_w1": W1, "lokr_w2": W2}, tmp_path), model, out)
    (out / "lokr_1of1" / "mine.txt").write_text("notes")
    lycoris_to_peft(saved({"lokr_w1": 2 * W1, "lokr_w2": W2}, tmp_path), model, out)
    assert saved_names(out) == ["lokr_1of1"]
    assert sorted(path.name for path in out.rglob("*")) == [
        *("adapter_config.json", "adapter_model.safetensors", "lokr_1of1", "mine.txt")
    ]
    (factors,) = read_peft(out).values()
    assert factors.tensors["lokr_w1"][0, 0] == 2


def _without(kind: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in tensors.items() if not key.endswith(kind)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: {}, "holds no tensors"),
        (lambda tensors: _without("lokr_w2", tensors), "lokr_w2 is missing"),
        (lambda tensors: {key: each * torch.nan for key, each in tensors.items()}, "not finite"),
        (lambda tensors: tensors | {"base_model.model.x.lora_A.weight": W1}, "this is a LoRA"),
    ],
)
def test_broken_adapters_are_refused_by_their_tensor(
    change: Any, said: str, model: nn.Module, tmp_path: Path
) -> None:
    lycoris_to_peft(saved({"lokr_w1": W1, "lokr_w2": W2}, tmp_path), model, tmp_path / "in")
    file = tmp_path / "in" / "lokr_1of1" / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file(change(tensors), file)
    with pytest.raises(LokrWeightingError, match=f"adapter_model.safetensors: .*{said}"):
        peft_to_lycoris(tmp_path / "in", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"peft_type": "LOKR", "r": 0}', '{"r": "eight"}'])
def test_an_adapters_configuration_that_peft_cannot_read_is_refused(
    text: str, model: nn.Module, tmp_path: Path
) -> None:
    lycoris_to_peft(saved({"lokr_w1": W1, "lokr_w2": W2}, tmp_path), model, tmp_path / "in")
    (tmp_path / "in" / "lokr_1of1" / "adapter_config.json").write_text(text)
    with pytest.raises(LokrWeightingError, match=str(tmp_path / "in")):
        peft_to_lycoris(tmp_path / "in", tmp_path / "out.safetensors")


def test_a_module_that_stands_in_two_adapters_is_refused(model: nn.Module, tmp_path: Path) -> None:
    lycoris_to_peft(saved({"lokr_w1": W1, "lokr_w2": W2}, tmp_path), model, tmp_path / "in")
    shutil.copytree(tmp_path / "in" / "lokr_1of1", tmp_path / "in" / "lokr_2of2")
    (tmp_path / "in" / "lokr_1of1").rename(tmp_path / "in" / "lokr_1of2")
    with pytest.raises(LokrWeightingError, match=f"{NAME}: stands in two adapters"):
        read_peft(tmp_path / "in")
