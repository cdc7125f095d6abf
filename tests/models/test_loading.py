from collections.abc import Callable
from pathlib import Path

import torch

from lokr_weighting.models.loading import load_pipeline
from lokr_weighting.models.table import family_files
from tests import tiny_pipelines


def test_every_pipeline_that_can_be_run_is_loaded_unshifted(
    pipelines: Callable[[str], Path],
) -> None:
    names = [name for file in family_files() for name in file.pipelines]
    for kind in tiny_pipelines.KINDS:
        pipeline = load_pipeline(pipelines(kind), torch.float32)
        assert type(pipeline).__name__ in names
        assert pipeline.scheduler.config.shift == 1.0
        assert not pipeline.scheduler.config.use_dynamic_shifting
