"""SimpleTuner's own web page in a real browser: what it saves, and the run that it would start."""

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lokr_weighting.targets.tensors import differences_from_plan
from tests.browser import browser
from tests.plugin.runs import LYCORIS, MODULE, Trained, prepare, start
from tests.plugin.test_run import FEW, made
from tests.plugin.web.server import open_tab, save, served, trainer_page, welcome

pytestmark = pytest.mark.slow

FLAG = f"-m {MODULE}"
ENVIRONMENT = "digits"
JOB = (
    "import json; from simpletuner.helpers.training.trainer import run_trainer_job; "
    "run_trainer_job(json.load(open('job.json')) | "
    "{'__job_id__': 'job', '__skip_config_fallback__': True})"
)
"""What the server starts in a process of its own."""


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, pipelines: Callable[[str], Path], images: Path
) -> Trained:
    return prepare(
        tmp_path_factory.mktemp("web") / "run", "auraflow", pipelines("auraflow"), images
    )


@pytest.fixture(scope="module")
def saved_and_queued(run: Trained, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The configuration before and after the page saved it, and the run that it then asked for."""
    home = tmp_path_factory.mktemp("home")
    folder = welcome(home, ENVIRONMENT) / ENVIRONMENT
    shutil.copytree(run.folder / "config", folder)
    config = folder / "config.json"
    before = json.loads(run.config_file.read_text()) | {
        # the page starts nothing below 256; the data set says 64
        "resolution": 256,
        "lycoris_config": str(folder / "lycoris_config.json"),
        "data_backend_config": str(folder / "multidatabackend.json"),
        "output_dir": str(run.output),
        "lokr_weighting_similarity": True,
        "lokr_weighting_max_samples": 500,
    }
    config.write_text(json.dumps(before))
    with served(home, run.folder / "server.txt") as address, browser() as chromium:
        page = trainer_page(chromium, address)
        open_tab(page, "hardware")
        page.locator('[data-bs-target="#advanced-content-accelerate_advanced"]').click()
        page.get_by_label("Extra Accelerate Flags").fill(FLAG)
        open_tab(page, "model")
        assert page.locator("#lokr_weighting_similarity").input_value() == "true"
        page.locator("#lokr_weighting_samples").fill(str(FEW))
        page.locator("#lokr_weighting_max_samples").fill("")
        page.locator("#lokr_weighting_budget").fill("uniform:4")
        page.locator("#lokr_weighting_reuse").select_option("false")
        save(page)
        saved = json.loads(config.read_text())
        with page.expect_response("**/api/training/start") as started:
            page.locator("#runBtn:visible").first.click()
        said = started.value.text()
        assert "Training Queued" in said or "Training Started" in said, said
    with closing(sqlite3.connect(home / ".simpletuner" / "cloud" / "jobs.db")) as jobs:
        ((metadata,),) = jobs.execute("select metadata from jobs").fetchall()
    return [before, saved, json.loads(metadata)["runtime_config"]]


def ours(config: dict[str, Any]) -> dict[str, Any]:
    """What is set of the flag and of the plugin's settings."""
    named = {key.removeprefix("--"): value for key, value in config.items() if value is not None}
    return {
        key: value
        for key, value in named.items()
        if key.startswith("lokr_weighting") or key == "accelerate_extra_args"
    }


def test_the_page_saves_the_flag_and_only_the_settings_that_were_given(
    saved_and_queued: list[Any],
) -> None:
    before, saved, queued = saved_and_queued
    assert ours(saved) == {
        "accelerate_extra_args": FLAG,
        "lokr_weighting_budget": "uniform:4",
        "lokr_weighting_samples": FEW,
        "lokr_weighting_reuse": False,
        "lokr_weighting_similarity": True,
    }
    assert ours(queued) == ours(saved)
    assert saved["lycoris_config"] == before["lycoris_config"]


def test_the_run_that_the_page_asks_for_is_weighted(
    run: Trained, saved_and_queued: list[Any]
) -> None:
    job = {key: value for key, value in saved_and_queued[2].items() if key != "accelerate_strategy"}
    # the server that it would report to is gone
    job.pop("--webhook_config", None)
    (run.folder / "job.json").write_text(json.dumps(job))
    start(run, [sys.executable, "-c", JOB])
    assert run.code == 0, run.log
    assert "--lokr_weighting_reuse=false" in run.log
    assert run.plan.budget == "uniform:4"
    assert differences_from_plan(run.plan, made(run)) == []
    assert {linear.block for linear in run.plan.linears} == set(range(6))
    (calibration,) = run.calibrations
    assert len((calibration / "records.jsonl").read_bytes().splitlines()) == FEW
    assert json.loads((run.folder / "config" / "lycoris_config.json").read_text()) == LYCORIS
