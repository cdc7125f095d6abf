"""Every kind of file is found by its names; what is broken or foreign is refused by its tensor."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor

from lokr_weighting import LokrWeightingError
from lokr_weighting.targets.adapter import Change
from tests.attacks import good
from tests.targets.adapter.made import changes_in
from tests.targets.test_trained import W1, W2, W2_A, saved

MODULE = "transformer_blocks.0.attn.to_q"
DOWN, UP = torch.ones(2, 64), torch.ones(64, 2)
LORA = {"lora_A.weight": DOWN, "lora_B.weight": UP}
KOHYA = {"lora_down.weight": DOWN, "lora_up.weight": UP, "alpha": torch.tensor(1.0)}


def read(path: Path) -> dict[str, Change]:
    return changes_in(path, good.model())


@pytest.mark.parametrize("module", [MODULE, MODULE.replace(".", "_")])
@pytest.mark.parametrize(
    "prefix", ["lycoris_", "lora_unet_", "transformer.", "unet.", "diffusion_model.", ""]
)
def test_a_lora_is_found_behind_every_prefix(prefix: str, module: str, tmp_path: Path) -> None:
    (change,) = read(saved(KOHYA, tmp_path, prefix + module)).values()
    assert change.norm == pytest.approx(float((UP @ DOWN).norm()) / 2)
    assert (change.algorithm, change.parameters, change.most) == ("LoRA", 256, 2)
    assert change.rank == pytest.approx(1)


def test_text_encoders_are_left_out_and_counted(tmp_path: Path) -> None:
    from lokr_weighting.targets.adapter import open_adapter

    tensors = {f"lora_unet_{MODULE.replace('.', '_')}.{kind}": KOHYA[kind] for kind in KOHYA}
    tensors |= {f"lora_te1_layers_0_fc1.{kind}": KOHYA[kind].clone() for kind in KOHYA}
    save_file(tensors, tmp_path / "a.safetensors")
    with open_adapter(tmp_path / "a.safetensors", good.skeleton()) as adapter:
        assert list(adapter.modules) == [MODULE]
        assert adapter.left_out == {"lora_te1_layers_0_fc1"}
    alone = saved(KOHYA, tmp_path, "lora_te1_layers_0_fc1")
    with pytest.raises(LokrWeightingError, match="holds no tensors of a transformer or UNet"):
        read(alone)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({}, "holds no tensors, so no adapter"),
        ({"lokr_w1": W1}, "lokr_w2 is missing"),
        ({"lokr_w1": W1, "lokr_w2_a": W2_A, "lokr_w2_b": torch.ones(2, 16)}, "ranks do not match"),
        ({"lokr_w1": W1, "lokr_w2": torch.ones(8, 16)}, r"\(32, 64\) in the file and \(64, 64\)"),
        ({"lokr_w1": W1 / 0, "lokr_w2": W2}, "not finite"),
        ({"lokr_w1": W1, "lokr_w2": W2, "alpha": torch.ones(2)}, "2 numbers; one is wanted"),
        ({"lokr_w1": W1, "lokr_w2": W2, "lokr_t2": W1}, "Tucker"),
        ({"lokr_w1": W1, "lokr_w2": W2, "dora_scale": W1}, "this is a DoRA; only plain LoKr and"),
        ({**LORA, "lora_magnitude_vector": W1}, "this is a DoRA"),
        ({**LORA, "lora_mid.weight": W1}, "this is a LoRA with Tucker decomposition"),
        ({"hada_w1_a": W1}, "this is a LoHa"),
        ({"diff": W1}, "full weights"),
        ({**LORA, "lora_B.bias": W1}, "no tensor of a LoKr or a LoRA is called so"),
        ({**LORA, "lokr_w1": W1}, "has a LoRA and lokr_w1; only one can be meant"),
        ({"lora_A.weight": DOWN}, r"lora_B .lora_up. is missing"),
        ({"lora_B.weight": UP}, r"lora_A .lora_down. is missing"),
        ({**LORA, "lora_B.weight": torch.ones(64, 3)}, "lora_A has rank 2 and lora_B 3"),
        ({**LORA, "lora_B.weight": UP * torch.inf}, "holds numbers that are not finite"),
        ({**LORA, "lora_B.weight": torch.ones(64)}, r"shape \[64\]; a matrix of numbers is wanted"),
        ({**LORA, "lora_B.weight": torch.ones(32, 2)}, r"\(32, 64\) in the file and \(64, 64\)"),
        ({**LORA, "lora_down.weight": DOWN}, "this tensor twice"),
    ],
)
def test_a_broken_or_foreign_file_is_refused_by_its_tensor(
    tensors: dict[str, Tensor], said: str, tmp_path: Path
) -> None:
    file = saved(tensors, tmp_path, f"lycoris_{MODULE.replace('.', '_')}")
    with pytest.raises(LokrWeightingError, match=f"adapter.safetensors: .*{said}"):
        read(file)


def test_another_models_file_is_refused(tmp_path: Path) -> None:
    file = saved(KOHYA, tmp_path, "lora_unet_double_blocks_0_img_attn_qkv")
    with pytest.raises(LokrWeightingError, match="SD3Transformer2DModel has no such Linear"):
        read(file)


def test_a_scale_that_is_not_known_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(LokrWeightingError, match=r"its adapter_config.json is not beside it"):
        read(saved(LORA, tmp_path, f"base_model.model.{MODULE}"))
    tensors = {f"{MODULE}.{kind}": each for kind, each in KOHYA.items()}
    other = MODULE.replace("to_q", "to_k")
    tensors |= {f"{other}.{kind}": each.clone() for kind, each in LORA.items()}
    save_file(tensors, tmp_path / "some.safetensors")
    with pytest.raises(LokrWeightingError, match="has no alpha where other modules have one"):
        read(tmp_path / "some.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A peft LoRA's folder."""
    place = tmp_path / "adapter"
    LoraConfig(r=2, lora_alpha=4, target_modules=["to_q"]).save_pretrained(str(place))
    tensors = {f"base_model.model.{MODULE}.{kind}": each for kind, each in LORA.items()}
    save_file(tensors, place / "adapter_model.safetensors")
    return place


def change(folder: Path, **keys: Any) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | keys))


def test_pefts_scale_is_its_configurations(folder: Path) -> None:
    (found,) = read(folder).values()
    assert found.norm == pytest.approx(2 * float((UP @ DOWN).norm()))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"r": 3}, "has rank 2 in the file and 3 in its configuration"),
        ({"r": 0}, "r = 0: input should be greater"),
        ({"r": "two"}, "r = 'two'"),
        ({"lora_alpha": None}, "alpha = None"),
        ({"peft_type": "LOHA"}, "peft_type = 'LOHA': input should be 'LOKR' or 'LORA'"),
        ({"init_lora_weights": "pissa_niter_4"}, "this initialisation changes the model's own"),
        ({"init_lora_weights": "olora"}, "save it with path_initial_model_for_weight_conversion"),
        ({"kasa_config": {}}, "kasa_config"),
        ({"rank_pattern": {"(a+)+$": 2}}, "only the names of modules are read, no other regular"),
    ],
)
def test_a_configuration_that_cannot_be_followed_is_refused(
    keys: dict[str, Any], said: str, folder: Path
) -> None:
    change(folder, **keys)
    with pytest.raises(LokrWeightingError, match=said):
        read(folder)


def test_what_is_no_adapters_folder_is_said_to_be_none(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(LokrWeightingError, match=r"adapter_config.json of peft's; nor a .*file"):
        read(other)
    saved(KOHYA, other, MODULE)
    with pytest.raises(LokrWeightingError, match=r"; give a file of it: adapter.safetensors"):
        read(other)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(LokrWeightingError, match="nothing was trained yet, or it was not saved as"):
        read(folder)
    with pytest.raises(LokrWeightingError, match="there is no such file or folder"):
        read(tmp_path / "none")
    (tmp_path / "old.pt").write_bytes(b"")
    with pytest.raises(LokrWeightingError, match="pickled files can run code"):
        read(tmp_path / "old.pt")


def test_one_of_several_adapters_is_not_taken_for_all(folder: Path, tmp_path: Path) -> None:
    part = folder.rename(tmp_path / "lokr_1of2")
    with pytest.raises(LokrWeightingError, match="is one of several adapters"):
        read(part)
    with pytest.raises(LokrWeightingError, match="of 2 adapters that belong together, number 2"):
        read(tmp_path)
    (tmp_path / "lokr_2of2").mkdir()
    for file in part.iterdir():
        (tmp_path / "lokr_2of2" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(LokrWeightingError, match=f"{MODULE}: stands in two adapters"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("[]", "holds a JSON list, not an object"),
        ("{", "not valid JSON"),
        ('{"transformer.r": 2}', "key 'alpha' is missing"),
        ('{"transformer.r": 2, "transformer.lora_alpha": 8}', "and another in its header"),
    ],
)
def test_a_header_that_cannot_be_followed_is_refused(
    header: str, said: str, tmp_path: Path
) -> None:
    tensors = {f"transformer.{MODULE}.{kind}": each for kind, each in KOHYA.items()}
    file = tmp_path / "a.safetensors"
    save_file(tensors, file, {"lora_adapter_metadata": header})
    with pytest.raises(LokrWeightingError, match=f"a.safetensors: .*{said}"):
        read(file)
