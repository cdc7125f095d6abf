"""Whole SimpleTuner runs on several data sets, and on Kontext's pairs of images."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.plugin.runs import LYCORIS, Trained, prepare, train

pytestmark = pytest.mark.slow

Pipelines = Callable[[str], Path]
FEW = 20  # samples, where the plan need not settle


def data_sets(run: Trained, *more: dict[str, Any], **changes: Any) -> None:
    """Change the run's data set, and add others like it."""
    file = run.folder / "config" / "multidatabackend.json"
    own, text = json.loads(file.read_text())
    own |= changes
    others = [{**own, "cache_dir_vae": f"cache/vae_{each['id']}", **each} for each in more]
    file.write_text(json.dumps([own, *others, text]))


def rows(log: str) -> dict[str, str]:
    """The table of data sets in a log, by their names."""
    table = log.partition("samples are of")[2].splitlines()
    found = {}
    for line in table:
        cells = line.rpartition("]")[2].split()
        if len(cells) >= 4 and cells[2].endswith("%"):
            found[cells[0]] = " ".join(cells[1:])
    return found


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, pipelines: Pipelines, images: Path
) -> Trained:
    """A run with aspect buckets, regularisation and a data set that it never comes to."""
    root = tmp_path_factory.mktemp("several")
    wide = root / "wide"
    shutil.copytree(images, wide)
    for path in sorted(wide.glob("*.png"))[:6]:
        Image.open(path).resize((192, 96)).save(path)
    run = prepare(root / "run", "sd3", pipelines("sd3"), wide, lokr_weighting_samples=FEW)
    data_sets(
        run,
        {"id": "others", "instance_data_dir": str(images), "is_regularisation_data": True},
        {"id": "late", "instance_data_dir": str(images), "start_step": 5000},
        crop=False,
        repeats=0,
    )
    template = {"apply_preset": {"target_module": ["Attention", "FeedForward"]}}
    (run.folder / "config" / "lycoris_config.json").write_text(json.dumps(LYCORIS | template))
    return train(run)


def test_measured_is_what_the_run_trains_on_and_the_log_says_what_that_is(several: Trained) -> None:
    assert several.code == 0, several.log
    assert rows(several.log) == {
        "images": "24 100.0% 20",
        "others": "24 0.0% 0 left out (regularisation: it keeps the model as it is, so it says "
        "nothing of where to adapt it)",
        "late": "24 0.0% 0 left out (the run never comes to it)",
    }
    settings = json.loads((several.calibrations[0] / "settings.json").read_text())
    assert settings["datasets"] == {"images": 24}
    assert "apply_preset's target_module is not used" in several.log
    # the plan is there before its pictures
    assert several.log.index("Plan for") < several.log.index("Drawing ")
    assert "start it with the same argument" in several.log


@pytest.fixture(scope="module")
def again(several: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The same with shorter captions, after SimpleTuner lost the sizes of an image."""
    run = Trained(tmp_path_factory.mktemp("again") / "run")
    shutil.copytree(several.folder, run.folder)
    run.configure(tokenizer_max_length=40)
    shutil.rmtree(run.folder / "cache" / "text")
    sizes = several.folder.parent / "wide" / "aspect_ratio_bucket_metadata_images.json"
    known = json.loads(sizes.read_text())
    known.pop(sorted(known)[0])
    sizes.write_text(json.dumps(known))
    return train(run)


def test_what_the_model_is_given_decides_whether_a_calibration_is_reused(again: Trained) -> None:
    assert again.code == 0, again.log
    assert "tokenizer_max_length was 77" in again.log
    assert "inputs was" in again.log
    assert len(again.calibrations) == 2


def test_what_simpletuner_lost_of_an_image_is_read_again(again: Trained) -> None:
    assert "data set 'images': SimpleTuner lost the sizes of 1 images" in again.log
    assert rows(again.log)["images"] == "24 100.0% 20"


def test_kontexts_reference_images_do_not_count(
    tmp_path: Path, pipelines: Pipelines, images: Path
) -> None:
    run = prepare(tmp_path / "run", "flux", pipelines("flux"), images, lokr_weighting_samples=FEW)
    run.configure(model_flavour="kontext")
    data_sets(
        run,
        {
            "id": "references",
            "dataset_type": "conditioning",
            "conditioning_type": "reference_strict",
            "source_dataset_id": "images",
            "instance_data_dir": str(images),
        },
        conditioning_data=["references"],
    )
    train(run)
    assert run.code == 0, run.log
    settings = json.loads((run.calibrations[0] / "settings.json").read_text())
    # 64 pixels are 8 latents, in patches of two
    assert settings["reference_tokens"] == 16
    assert rows(run.log) == {"images": "24 100.0% 20"}
