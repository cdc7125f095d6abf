import json
from pathlib import Path

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.known import empty_transformer, load_config
from lokr_weighting.models.table import checkpoints

# parameters of the released transformers, counted from their safetensors files' headers
RELEASED = {
    "sd3.5-large": 8_056_627_520,
    "flux.1-dev": 11_901_408_320,
    "flux.1-schnell": 11_891_178_560,
}


@pytest.mark.parametrize("name", sorted(checkpoints()))
def test_every_known_architecture_builds_without_memory(name: str) -> None:
    transformer = empty_transformer(name)
    assert all(parameter.is_meta for parameter in transformer.parameters())
    assert block_names(transformer)
    if name in RELEASED:
        assert sum(parameter.numel() for parameter in transformer.parameters()) == RELEASED[name]


def test_a_hub_id_of_a_known_architecture_needs_no_network() -> None:
    assert load_config("stabilityai/stable-diffusion-3.5-large") == load_config("sd3.5-large")


def test_pipeline_and_transformer_folders_are_both_read(tmp_path: Path) -> None:
    config = {"_class_name": "SD3Transformer2DModel", "num_layers": 2}
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps(config))
    assert load_config(str(tmp_path)) == load_config(str(tmp_path / "transformer")) == config


def test_a_wrong_model_is_answered_with_what_would_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LokrWeightingError, match=r"known architecture .*sd3\.5-large"):
        load_config("no-such-model")
    with pytest.raises(LokrWeightingError, match=r"no transformer/config\.json"):
        load_config(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(LokrWeightingError, match="'_class_name' is missing"):
        load_config(str(tmp_path))
    (tmp_path / "config.json").write_text('{"_class_name": "NoTransformer2DModel"}')
    with pytest.raises(LokrWeightingError, match="has no class NoTransformer2DModel"):
        empty_transformer(str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(LokrWeightingError, match="could not be had from the hub"):
        load_config("somebody/some-model")
