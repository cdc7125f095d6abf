"""A whole SimpleTuner run of each family beside the first three."""

import json
import shutil
from pathlib import Path

import pytest

from lokr_weighting.targets.tensors import differences_from_plan
from tests.plugin.pipelines import BUILDERS, build
from tests.plugin.runs import prepare, train
from tests.plugin.test_run import made, records

pytestmark = pytest.mark.slow

BINS = 2
BLOCKS = {
    # image and text blocks of the small models
    "qwen_image": (2, 2),
    "flux2": (4, 4),
    "chroma": (4, 4),
    "z_image": (3, 3),
    "wan": (2, 0),
    "lumina2": (3, 3),
    "pixart": (2, 0),
    "sdxl": (8, 0),
    "sd1x": (4, 0),
    "kolors": (8, 0),
    "sana": (3, 0),
    "longcat_image": (4, 4),
}


@pytest.fixture(scope="module")
def few_images(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """Four of the images, with their captions."""
    folder = tmp_path_factory.mktemp("few")
    for path in sorted(images.glob("*.png"))[:4]:
        shutil.copy(path, folder)
        shutil.copy(path.with_suffix(".txt"), folder)
    return folder


@pytest.mark.parametrize("kind", BUILDERS)
def test_one_flag_measures_and_trains_every_familys_plan(
    kind: str, tmp_path: Path, few_images: Path
) -> None:
    pipeline = build(kind, tmp_path / "pipeline")
    run = prepare(tmp_path / "run", kind, pipeline, few_images, max_train_steps=1)
    # of SDXL SimpleTuner would take another's
    run.configure(pretrained_vae_model_name_or_path=str(pipeline))
    (run.folder / "recipe.json").write_text(json.dumps({"bins": BINS}))
    run.configure(lokr_weighting_samples=2 * BINS, lokr_weighting_recipe="recipe.json")
    train(run)
    assert run.code == 0, run.log
    assert f"all {len(run.plan.linears)} modules as planned" in run.log
    assert differences_from_plan(run.plan, made(run)) == []
    assert len(run.losses) == 1
    found = [json.loads(line) for line in records(run).splitlines()]
    assert len(found) == 2 * BINS
    for record in found:
        counts = [
            sum(each is not None for each in record.get(stream) or [])
            for stream in ("hidden_states", "encoder_hidden_states")
        ]
        assert tuple(counts) == BLOCKS[kind]
