import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lokr_weighting import LokrWeightingError, Probe
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.samples import draw
from lokr_weighting.models.blocks import block_names, places_in_lists
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.loading import load_pipeline
from lokr_weighting.studies import ablate
from lokr_weighting.studies.ablate import ablate_folder, ablate_groups, standard_strategies
from lokr_weighting.studies.groups import Group, Grouping
from lokr_weighting.studies.painters import BEFORE, BEHIND, ONE, ROWS, rows_of
from lokr_weighting.studies.statements import answers_of
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


def groups_of(blocks: Sequence[str]) -> list[Grouping]:
    """Each list in two groups in the image stream, undivided in the text stream."""
    found = []
    for path, places in places_in_lists(blocks).items():
        count = len(places)
        halves = [Group("first", 0, count // 2 - 1, 0.9, 1, 1)]
        halves.append(Group("last", count // 2, count - 1, 0.9, 1, 1))
        whole = (Group("all", 0, count - 1, 0.9, 1, 1),)
        found.append(Grouping(path, "image", tuple(halves), 0.8, 0.7, 0.01, 1))
        found.append(Grouping(path, "text", whole, 0.8, 0.7, 0.01, 1))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sd3", "flux", "auraflow"])
def test_the_painters_table_of_every_family_has_each_list_group_and_strategy(
    kind: str, pipelines: Callable[[str], Path], digits: Path
) -> None:
    blocks = block_names(load_skeleton(str(pipelines(kind))))
    groupings = groups_of(blocks)
    if kind != "sd3":  # one stream's, which is of both lists, for the time it takes
        groupings = [each for each in groupings if each.stream == "image"]
    found = ablate_groups(
        job(pipelines(kind), digits), blocks, groupings, samples=20, orders=1, device="cpu"
    )
    assert {each.path for each in found.spans} == set(places_in_lists(blocks))
    rows = rows_of(found)
    for span in found.spans:
        names = {row.name for row in rows if row.span == span}
        whole = {*ROWS} - {BEFORE, BEHIND} if span.last > span.first else {ONE}
        assert whole <= names
    # of SD3's last group: its last block hands no text on, so no other can come after it
    last = len(blocks) - 1
    for each in found.refused:
        assert kind == "sd3"
        assert each.strategy.last == last
        assert f"transformer_blocks.{last} hands no text on to a block" in each.reason
    assert (kind == "sd3") == any(each.strategy.kind == "reverse" for each in found.refused)
    measured = [row for row in rows if row.changes]
    assert len(measured) >= len(rows) - 3
    assert all(np.isfinite(row.change) and row.error > 0 for row in measured)
    for each in found.changes:
        assert each.by_sample is not None
        assert len(each.by_sample) == 20
    answers = answers_of(found)
    assert {(each.path, each.stream) for each in answers} == {
        (each.path, each.stream) for each in groupings
    }
    seen = found.samples_seen
    assert seen is not None
    assert seen.losses.mean() == pytest.approx(found.loss)
    assert np.nanmax(abs(seen.image.mean(axis=0) - found.image)) < 1e-6


def test_groups_of_another_model_are_refused(
    pipelines: Callable[[str], Path], digits: Path
) -> None:
    this = job(pipelines("sd3"), digits)
    others = [f"blocks.{i}" for i in range(6)]
    with pytest.raises(LokrWeightingError, match="the groups are of another model: 6 blocks"):
        ablate_groups(this, others, groups_of(others), samples=20, device="cpu")
    own = block_names(load_skeleton(str(pipelines("sd3"))))
    with pytest.raises(LokrWeightingError, match="there are no groups, and no list of two blocks"):
        ablate_groups(this, own, [], samples=20, device="cpu")


def test_a_loss_that_is_no_number_is_said_of_the_strategy_and_of_the_model(
    pipelines: Callable[[str], Path], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = job(pipelines("sd3"), digits)
    skips = [Strategy("skip", "transformer_blocks", i, i) for i in range(2)]
    losses = iter([np.ones(20), np.full(20, np.nan), np.full(20, 2.0)])
    monkeypatch.setattr(ablate, "_losses", lambda *_: next(losses))
    found = ablate_folder(this, skips, samples=20, keep_going=True, device="cpu")
    assert [each.strategy for each in found.refused] == skips[:1]
    assert "its loss is NaN or Inf" in found.refused[0].reason
    assert [each.change for each in found.changes] == [1]
    monkeypatch.setattr(ablate, "_losses", lambda *_: np.full(20, np.inf))
    with pytest.raises(LokrWeightingError, match="its loss is NaN or Inf: try another dtype"):
        ablate_folder(this, skips, samples=20, keep_going=True, device="cpu")


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
    for keep_going in (False, True):
        with pytest.raises(LokrWeightingError, match=r"like this: .*\.5 hands no text"):
            ablate_folder(this, backwards, samples=20, keep_going=keep_going, device="cpu")
    # a strategy that the model does not have is the user's mistake, whatever goes on
    wrong = [Strategy("skip", "transformer_blocks", 0, 9)]
    with pytest.raises(LokrWeightingError, match=r"^skip transformer_blocks\.0-9: .*has blocks 0"):
        ablate_folder(this, wrong, samples=20, keep_going=True, device="cpu")


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
