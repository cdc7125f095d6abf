import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.weights import Weights, weights_folder
from tests.tiny_models import model_and_inputs


@pytest.mark.parametrize("shards", ["100GB", "200KB"])
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_norms_are_those_of_the_models_own_weights(
    shards: str, variant: str | None, tmp_path: Path
) -> None:
    model: Any
    model, _ = model_and_inputs("sd3")
    model.save_pretrained(tmp_path / "transformer", max_shard_size=shards, variant=variant)
    folder = weights_folder(str(tmp_path))
    assert folder is not None
    assert folder == weights_folder(str(folder)) == tmp_path / "transformer"
    assert (len(list(folder.glob("*.safetensors"))) > 1) == (shards == "200KB")
    own = dict(model.named_parameters())
    with Weights(folder) as weights:
        for linear in block_linears(model):
            expected = own[f"{linear.name}.weight"].detach().double().norm()
            assert weights.norm(linear.name, linear.shape) == pytest.approx(float(expected))


def test_numbers_of_8_bits_have_a_norm_and_packed_ones_none(tmp_path: Path) -> None:
    tensors = {
        "a.weight": torch.full((4, 4), 2.0).to(torch.float8_e4m3fn),
        "b.weight": torch.zeros((8, 1), dtype=torch.uint8),
    }
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    with Weights(tmp_path) as weights:
        assert weights.norm("a", (4, 4)) == 8
        assert weights.norm("b", (4, 4)) is None
        assert weights.norm("b", (8, 1)) is None
        assert weights.norm("c", (4, 4)) is None


def test_where_there_are_no_weights_none_are_known(tmp_path: Path) -> None:
    assert weights_folder("sd3.5-large") is None
    assert weights_folder("nobody/nothing") is None
    assert weights_folder(str(tmp_path)) is None
    config = tmp_path / "config.json"
    config.write_text("{}")
    assert weights_folder(str(tmp_path)) is None
    save_file({"a.weight": torch.ones(2, 2)}, tmp_path / "diffusion_pytorch_model.safetensors")
    assert weights_folder(str(tmp_path)) == tmp_path
    config.write_text(json.dumps({"quantization_config": {"load_in_4bit": True}}))
    assert weights_folder(str(tmp_path)) is None
    with Weights(None) as weights:
        assert weights.norm("a", (2, 2)) is None


def test_the_weights_that_come_with_the_package_are_found() -> None:
    folder = weights_folder("digits")
    assert folder is not None
    assert folder.name == "transformer"


def test_broken_weights_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(LokrWeightingError, match=r"model.safetensors: is no safetensors file"):
        Weights(tmp_path)
