import json
from pathlib import Path

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.blocks import block_linears, block_names, places_in_lists
from lokr_weighting.models.known import empty_transformer, load_config, load_skeleton
from lokr_weighting.models.table import checkpoints
from tests.known_models import known_transformer

# parameters of the released models, counted from their safetensors files' headers; of the UNets as
# public training logs say
RELEASED = {
    "sd3.5-large": 8_056_627_520,
    "flux.1-dev": 11_901_408_320,
    "flux.1-schnell": 11_891_178_560,
    "sdxl": 2_567_463_684,
    "sd1.5": 859_520_964,
    "sd2.1": 865_910_724,
}

# blocks in each list, Linears in them, and their weights in billions, counted on diffusers' own
# classes before the models were known by name
SIZES = {
    "qwen-image": ([60], 840, 20.38),
    "flux.2-dev": ([8, 48], 192, 31.41),
    "flux.2-klein-4b": ([5, 20], 100, 3.68),
    "flux.2-klein-9b": ([8, 24], 144, 8.72),
    "chroma1-hd": ([19, 38], 418, 8.61),
    "wan2.1-1.3b": ([30], 300, 1.39),
    "wan2.1-14b": ([40], 400, 14.05),
    "wan2.2-5b": ([30], 300, 4.91),
    "ltx-video": ([28], 280, 1.88),
    "hunyuan-video": ([20, 40], 520, 12.46),
    "hunyuan-image-2.1": ([20, 40], 520, 16.96),
    "pixart-sigma": ([28], 280, 0.59),
    "sdxl": ([2, 2, 10, 10, 10, 10, 10, 10, 2, 2, 2], 700, 2.18),
    "sd1.5": ([1] * 16, 160, 0.24),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_known_model_has_the_blocks_linears_and_weights_of_the_released_one(name: str) -> None:
    skeleton = load_skeleton(name)
    linears = block_linears(skeleton)
    lists = places_in_lists(block_names(skeleton)).values()
    weights = sum(linear.in_features * linear.out_features for linear in linears)
    assert ([len(places) for places in lists], len(linears)) == SIZES[name][:2]
    assert weights / 1e9 == pytest.approx(SIZES[name][2], abs=0.006)


def test_every_known_model_says_where_its_numbers_are_from() -> None:
    ids = [each for known in checkpoints().values() for each in known.hub_ids]
    assert len(set(ids)) == len(ids)
    assert all(known.source for known in checkpoints().values())
    assert load_config("Qwen/Qwen-Image-Edit-2509") == load_config("qwen-image")


@pytest.mark.parametrize("name", sorted(checkpoints()))
def test_every_known_architecture_builds_without_memory(name: str) -> None:
    transformer = known_transformer(name)
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
