from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from lokr_weighting.measure.job import Job
from lokr_weighting.models.loading import Offload
from lokr_weighting.studies.contact_sheet import images_of
from lokr_weighting.studies.strategies import Strategy


@pytest.mark.parametrize("offload", ["none", "group", "sequential"])
def test_images_are_the_pipelines_own_also_offloaded(
    offload: Offload, pipelines: Callable[[str], Path], images: Path
) -> None:
    job = Job(str(pipelines("sd3")), images, resolution=64, seed=3)
    skipped = [Strategy("skip", "transformer_blocks", 1, 1)]
    steps = {"num_inference_steps": 2}
    seen = []
    rows = images_of(
        job,
        skipped,
        ["a", "b"],
        device="cpu",
        offload=offload,
        on_progress=lambda *each: seen.append(each),
        **steps,
    )
    pipeline: Any = DiffusionPipeline.from_pretrained(pipelines("sd3"))
    noise = torch.Generator().manual_seed(4)
    own = pipeline("b", generator=noise, height=64, width=64, **steps).images[0]
    assert np.array_equal(np.array(rows[0][1]), np.array(own))
    assert not np.array_equal(np.array(rows[1][1]), np.array(own))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_video_models_images_are_its_single_frames(
    pipelines: Callable[[str], Path], images: Path
) -> None:
    job = Job(str(pipelines("wan2.1")), images, resolution=64)
    rows = images_of(job, [], ["a", "b"], device="cpu", num_inference_steps=1)
    assert [[image.size for image in row] for row in rows] == [[(64, 64), (64, 64)]]
