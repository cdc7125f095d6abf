from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lokr_weighting import LokrWeightingError
from lokr_weighting.files import read_json, write_json
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import load_pipeline, pipeline_folder


@pytest.mark.parametrize(("kind", "name"), [("sd3", "transformer"), ("sdxl", "unet")])
def test_a_pipelines_model_is_found_under_either_name(
    kind: str, name: str, pipelines: Callable[[str], Path]
) -> None:
    folder = pipeline_folder(str(pipelines(kind)))
    pipeline = load_pipeline(folder, torch.float32)
    assert denoiser(pipeline) is getattr(pipeline, name)


@pytest.mark.parametrize("key", ["transformer_2", "boundary_ratio"])
def test_a_pipeline_of_two_transformers_is_refused_by_name(
    key: str, pipelines: Callable[[str], Path], tmp_path: Path
) -> None:
    index = read_json(pipelines("wan2.1") / "model_index.json")
    two = {"transformer_2": index["transformer"], "boundary_ratio": 0.875}
    write_json(tmp_path / "model_index.json", index | {key: two[key]})
    with pytest.raises(LokrWeightingError, match=f"this WanPipeline has {key}: each of its two"):
        pipeline_folder(str(tmp_path))
