import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lokr_weighting import LokrWeightingError, calibrate_folder
from lokr_weighting.records.store import SETTINGS
from tests.inputs import SHORT, job


@pytest.mark.parametrize(
    ("options", "device", "says"),
    [
        ({"resolution": 63}, "cpu", "resolution = 63: must be a multiple of 16"),
        ({"resolution": 0}, "cpu", "resolution = 0: must be a multiple of 16"),
        ({"resolution": 1 << 20}, "cpu", "resolution = 1048576: at most"),
        ({"dtype": "int8"}, "cpu", "dtype = 'int8'"),
        ({}, "foo", "device = 'foo': cannot be used here"),
        ({}, "meta", "device = 'meta': holds no numbers"),
        ({"captions": ".caption"}, "cpu", "no image has a caption in '.caption'"),
    ],
)
def test_a_refused_attempt_leaves_nothing_and_never_loads_the_model(
    pipelines: Callable[[str], Path],
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    device: str,
    says: str,
) -> None:
    loading = "lokr_weighting.measure.runner.load_pipeline"
    monkeypatch.setattr(loading, lambda *_: pytest.fail("the model was loaded"))
    this = job(pipelines("flux"), images, **{"resolution": 64} | options)
    with pytest.raises(LokrWeightingError) as error:
        calibrate_folder(this, tmp_path / "c", stop=SHORT, device=device)
    assert says in str(error.value)
    assert not (tmp_path / "c").exists()


def test_a_model_that_cannot_be_loaded_does_not_lock_the_right_one_out(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(pipelines("flux"), tmp_path / "broken"))
    for file in (broken / "vae").glob("*.safetensors"):
        file.write_bytes(b"nothing")
    with pytest.raises(LokrWeightingError, match="diffusers cannot load this"):
        calibrate_folder(job(broken, images), tmp_path / "c", stop=SHORT)
    assert not (tmp_path / "c").exists()
    calibration, _ = calibrate_folder(job(pipelines("flux"), images), tmp_path / "c", stop=SHORT)
    assert len(calibration.records) == 20


def test_another_vae_or_text_encoder_is_noticed(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(pipelines("sd3"), tmp_path / "model"))
    calibrate_folder(job(model, images), tmp_path / "c", stop=SHORT)
    for part in ("vae", "text_encoder_2"):
        file = next((model / part).glob("*.safetensors"))
        whole = file.read_bytes()
        file.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1, whole[-1]]))
        with pytest.raises(LokrWeightingError, match="a calibration with pipeline ="):
            calibrate_folder(job(model, images), tmp_path / "c", stop=SHORT)
        file.write_bytes(whole)
    calibrate_folder(job(model, images), tmp_path / "c", stop=SHORT)


def test_samples_that_counted_padding_are_not_mixed_with_new_ones(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    """As a calibration of SD3 or Flux by version 0.1."""
    calibrate_folder(job(pipelines("sd3"), images), tmp_path / "c", stop=SHORT)
    settings = json.loads((tmp_path / "c" / SETTINGS).read_text())
    assert settings.pop("padding") == "left out"
    (tmp_path / "c" / SETTINGS).write_text(json.dumps(settings))
    with pytest.raises(LokrWeightingError, match="with padding = None, this one has 'left out'"):
        calibrate_folder(job(pipelines("sd3"), images), tmp_path / "c", stop=SHORT)
