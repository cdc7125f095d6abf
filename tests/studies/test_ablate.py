import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lokr_weighting import LokrWeightingError, Probe
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.samples import draw
from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.loading import load_pipeline
from lokr_weighting.studies.ablate import ablate_folder, standard_strategies
from lokr_weighting.studies.strategies import Strategy
from tests.inputs import job
from tests.tiny_pipelines import KINDS


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_runs_every_strategy(
    kind: str, pipelines: Callable[[str], Path], digits: Path
) -> None:
    strategies = standard_strategies(block_names(load_skeleton(str(pipelines(kind)))))
    if kind == "auraflow":
        strategies = [each for each in strategies if each.last > each.first][:4]
    found = ablate_folder(job(pipelines(kind), digits), strategies, samples=20, device="cpu")
    assert [each.strategy for each in found.changes] == strategies
    assert np.isfinite([each.change for each in found.changes]).all()
    assert all(each.error > 0 for each in found.changes)
    assert found.loss > 0


def test_the_loss_is_the_flow_matching_loss(pipelines: Callable[[str], Path], digits: Path) -> None:
    """Against the transformer called by hand, on Stable Diffusion 3."""
    from lokr_weighting.data.images import open_image, to_array
    from lokr_weighting.measure.forward import PipelineForward

    pipeline = load_pipeline(pipelines("sd3"), torch.float32)
    encoder = Encoder(pipeline, torch.device("cpu"))
    encoder.encode_image(0, torch.from_numpy(to_array(open_image(next(digits.glob("*.png"))))))
    encoder.encode_caption("a digit")
    sample = draw(seed=0, index=3, bins=10, captions=[1])
    with Probe(pipeline.transformer):
        found = float(PipelineForward(encoder).loss(sample, 0, "a digit"))
    clean, embeddings = encoder.latents[0], encoder.embeddings["a digit"]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(sample.noise_seed))
    t = sample.timestep
    with torch.no_grad():
        velocity = pipeline.transformer(
            hidden_states=(1 - t) * clean + t * noise,
            timestep=torch.tensor([1000 * t]),
            encoder_hidden_states=embeddings["prompt_embeds"],
            pooled_projections=embeddings["pooled_prompt_embeds"],
            return_dict=False,
        )[0]
    expected = (velocity - (noise - clean)).square().mean()
    assert found == pytest.approx(float(expected), rel=1e-4)


def test_too_few_samples_and_impossible_orders_are_refused(
    pipelines: Callable[[str], Path], digits: Path
) -> None:
    this = job(pipelines("sd3"), digits)
    with pytest.raises(LokrWeightingError, match="at least 20"):
        ablate_folder(this, samples=10, device="cpu")
    # the last block hands no text on to the one that would come after it
    backwards = [Strategy("reverse", "transformer_blocks", 0, 5)]
    with pytest.raises(LokrWeightingError, match="cannot be run like this"):
        ablate_folder(this, backwards, samples=20, device="cpu")


@pytest.mark.slow
def test_two_processes_measure_what_one_does(
    pipelines: Callable[[str], Path], digits: Path, tmp_path: Path
) -> None:
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29618"]
    options = ["--model", pipelines("sd3"), "--data", digits, "--samples", 21, "--resolution", 64]
    for name, way in {"one": [], "two": launch}.items():
        command = [sys.executable, *way, "-m", "lokr_weighting", "ablate"]
        command += [*map(str, options), "-o", str(tmp_path / name)]
        subprocess.run(command, check=True)
    one, two = (tmp_path / name / "ablation.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
