from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import load_pipeline, pipeline_folder


@pytest.mark.parametrize(("kind", "name"), [("sd3", "transformer"), ("sdxl", "unet")])
def test_a_pipelines_model_is_found_under_either_name(
    kind: str, name: str, pipelines: Callable[[str], Path]
) -> None:
    folder = pipeline_folder(str(pipelines(kind)))
    pipeline = load_pipeline(folder, torch.float32)
    assert denoiser(pipeline) is getattr(pipeline, name)
