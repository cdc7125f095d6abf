from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import calibrate_folder
from tests import tiny_pipelines
from tests.inputs import SHORT, job


@pytest.mark.parametrize("kind", tiny_pipelines.KINDS)
def test_the_transformer_runs_once_at_exactly_the_timestep(
    kind: str, pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    """In the family's own unit; Flux and AuraFlow count to 1, SD3 to 1000."""
    from lokr_weighting.measure import runner

    seen: list[float] = []
    load = runner.load_pipeline

    def watched(*arguments: object, **options: object) -> object:
        pipeline = load(*arguments, **options)  # type: ignore[arg-type]
        pipeline.transformer.register_forward_pre_hook(
            lambda _, __, kwargs: seen.append(kwargs["timestep"].item()), with_kwargs=True
        )
        return pipeline

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "load_pipeline", watched)
        calibration, _ = calibrate_folder(job(pipelines(kind), images), tmp_path / "c", stop=SHORT)
    unit = 1000 if kind.startswith("sd3") else 1
    expected = [record.timestep * unit for record in calibration.records]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
