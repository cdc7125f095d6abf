"""Model folders whose configurations describe what no model is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.models import limits
from lokr_weighting.models.known import load_skeleton, shipped_pipeline
from lokr_weighting.models.loading import load_unchanged, pipeline_folder
from tests.attacks.hostile import change_json, contents, refused_in_one_line
from tests.conftest import Run
from tests.inputs import write_records

Cli = Callable[..., Run]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The digits pipeline, to be changed."""
    shipped = shipped_pipeline("digits")
    assert shipped is not None
    return shutil.copytree(shipped, tmp_path / "model")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_layers": 10**9}, "model of more than 20,000 modules"),
        ({"num_layers": "twelve"}, "cannot be interpreted as an integer"),
        ({"num_layers": [12]}, "cannot be interpreted as an integer"),
        ({"patch_size": 0}, "cannot build a SD3Transformer2DModel"),
        ({"num_attention_heads": -4}, "cannot build a SD3Transformer2DModel"),
        ({"attention_head_dim": 10**12}, "cannot build a SD3Transformer2DModel"),
        ({"attention_head_dim": 10**7}, "sides of 1 to 1,048,576 make sense"),
        ({"num_attention_heads": 0}, "sides of 1 to 1,048,576 make sense"),
        ({"_class_name": 5}, "config.json: _class_name = 5: the class's name is wanted"),
        ({"_class_name": "logging"}, "has no class logging of models"),
        ({"_class_name": "DiffusionPipeline"}, "has no class DiffusionPipeline of models"),
        ({"_class_name": "__loader__"}, "has no class __loader__ of models"),
    ],
)
def test_a_transformer_that_nobody_could_build_is_refused(
    model: Path, changes: dict[str, Any], says: str
) -> None:
    change_json(model / "transformer" / "config.json", **changes)
    with pytest.raises(LokrWeightingError) as error:
        load_skeleton(str(model))
    assert says in str(error.value)
    assert str(model) in str(error.value)


def test_a_model_without_blocks_is_refused(cli: Cli, model: Path, tmp_path: Path) -> None:
    change_json(model / "transformer" / "config.json", num_layers=0)
    write_records(tmp_path / "r.jsonl", blocks=12)
    run = cli("plan", "--records", "r.jsonl", "--model", "model")
    refused_in_one_line(run, "model has no blocks")


def test_a_transformers_images_of_ten_million_pixels_are_refused_before_any_is_made(
    cli: Cli, model: Path, images: Path, tmp_path: Path
) -> None:
    change_json(model / "transformer" / "config.json", sample_size=10**7)
    before = contents(tmp_path)
    run = cli("calibrate", "--model", "model", "--data", images, "--output", "c")
    refused_in_one_line(run, "transformer/config.json: sample_size = 10000000")
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("component", "changes"),
    [
        ("vae", {"layers_per_block": 10**9}),
        ("vae", {"block_out_channels": ["x"] * 3}),
        ("vae", {"norm_num_groups": 0}),
        ("text_encoder", {"num_hidden_layers": 10**9}),
        ("text_encoder", {"hidden_size": "wide"}),
    ],
)
def test_a_vae_or_text_encoder_that_nobody_could_build_is_refused(
    model: Path, component: str, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(limits, "MOST_MODULES", 3000)
    change_json(model / component / "config.json", **changes)
    with pytest.raises(LokrWeightingError, match=str(model)):
        load_unchanged(model, torch.float32)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"_class_name": ["pipeline", "Own"]}, "_class_name = ['pipeline', 'Own']"),
        ({"_class_name": None}, "_class_name = None: the pipeline's class is wanted"),
        ({"transformer": ["os", "system"]}, "transformer = ['os', 'system']: a class of diffusers"),
        ({"transformer": "diffusers"}, "no transformer/config.json"),
        ({"vae": ["diffusers"]}, "vae = ['diffusers']"),
        ({"vae": ["diffusers", 5]}, "vae = ['diffusers', 5]"),
        ({"../..": ["diffusers", "AutoencoderKL"]}, "../.. = "),
        ({"/": ["diffusers", "AutoencoderKL"]}, "/ = "),
        ({"a\0": ["diffusers", "AutoencoderKL"]}, "a\0 = "),
    ],
)
def test_an_index_names_classes_of_the_known_libraries_and_folders_beside_it(
    model: Path, changes: dict[str, Any], says: str
) -> None:
    change_json(model / "model_index.json", **changes)
    if changes == {"transformer": "diffusers"}:
        shutil.rmtree(model / "transformer")
    with pytest.raises(LokrWeightingError) as error:
        pipeline_folder(str(model))
    assert says in str(error.value)


def test_a_folder_where_a_configuration_is_expected_is_refused(cli: Cli, model: Path) -> None:
    (model / "transformer" / "config.json").unlink()
    (model / "transformer" / "config.json").mkdir()
    run = cli("verify", "c.json", "--model", "model")
    refused_in_one_line(run, "c.json: there is no such file")
    (model.parent / "c.json").write_text(json.dumps({"algo": "lokr"}))
    run = cli("verify", "c.json", "--model", "model")
    refused_in_one_line(
        run, "model: no transformer/config.json, unet/config.json or config.json in this folder"
    )
