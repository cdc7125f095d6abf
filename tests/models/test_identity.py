import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.identity import pipeline_fingerprint, read_index


@pytest.fixture
def model(pipelines: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(pipelines("sd3"), tmp_path / "model"))


PARTS = [
    "transformer/*.safetensors",
    "vae/*.safetensors",
    "text_encoder/*.safetensors",
    "text_encoder_3/*.safetensors",
    "tokenizer/*",
    "vae/config.json",
    "transformer/config.json",
]


@pytest.mark.parametrize("part", PARTS)
def test_one_changed_byte_anywhere_is_another_model(model: Path, part: str) -> None:
    before = pipeline_fingerprint(model)
    for place in (0.13, 0.5, 0.87):
        file = sorted(model.glob(part))[0]
        data = bytearray(file.read_bytes())
        data[int(len(data) * place)] ^= 1
        file.write_bytes(data)
        after = pipeline_fingerprint(model)
        assert after != before
        before = after


def test_a_missing_or_renamed_file_is_another_model(model: Path) -> None:
    before = pipeline_fingerprint(model)
    file = model / "text_encoder" / "config.json"
    file.rename(file.with_name("other.json"))
    assert pipeline_fingerprint(model) != before


def test_place_and_what_is_not_used_do_not_matter(model: Path, tmp_path: Path) -> None:
    before = pipeline_fingerprint(model)
    (model / "README.md").write_text("a card")
    (model / "scheduler" / "scheduler_config.json").write_text("{}")
    (model / "transformer" / ".lock").write_text("")
    moved = shutil.move(model, tmp_path / "elsewhere")
    assert pipeline_fingerprint(Path(moved)) == before


def test_a_component_that_the_index_leaves_out_does_not_count(model: Path) -> None:
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps(index | {"text_encoder_3": [None, None]}))
    before = pipeline_fingerprint(model)
    shutil.rmtree(model / "text_encoder_3")
    assert pipeline_fingerprint(model) == before


def test_a_schedule_of_the_models_own_counts(model: Path) -> None:
    before = pipeline_fingerprint(model, scheduled=True)
    (model / "scheduler" / "scheduler_config.json").write_text("{}")
    assert pipeline_fingerprint(model, scheduled=True) != before


def test_a_component_of_one_of_diffusers_own_pipelines_is_known(model: Path) -> None:
    index = model / "model_index.json"
    data = json.loads(index.read_text())
    index.write_text(json.dumps(data | {"safety_checker": ["stable_diffusion", "Checker"]}))
    assert "safety_checker" in read_index(model)
    index.write_text(json.dumps(data | {"safety_checker": ["not_a_pipeline", "Checker"]}))
    with pytest.raises(LokrWeightingError, match=r"safety_checker = .*other code is not run"):
        read_index(model)
