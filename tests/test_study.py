"""The study's cells can be run, and its tables be made again from what is kept."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lokr_weighting.files import read_json
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.studies.comparison import BINS
from lokr_weighting.studies.rivals import check_names
from tests.inputs import SCRIPTS, imported

STUDY = SCRIPTS.parent / "benchmarks" / "study"


@pytest.fixture(scope="module")
def run() -> ModuleType:
    return imported(STUDY / "run.py")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return imported(STUDY / "tables.py")


def test_every_cell_names_plans_and_a_model_that_are_there(run: ModuleType) -> None:
    for cell in run.CELLS.values():
        check_names(cell.plans)
        assert cell.setup.reference in cell.plans
        assert load_skeleton(cell.model).children
        assert (SCRIPTS / cell.pictures[0]).is_file()


def test_every_question_is_of_plans_that_some_cell_trains_together(
    run: ModuleType, tables: ModuleType
) -> None:
    for plan, against in tables.PAIRS:
        assert any({plan, against} <= set(cell.plans) for cell in run.CELLS.values()), plan


def test_what_is_kept_is_whole_and_names_no_folder_of_a_machine(run: ModuleType) -> None:
    files = sorted(run.RESULTS.glob("*.json"))
    assert files
    for file in files:
        data = read_json(file)
        assert file.stem in run.CELLS
        samples = data["setup"]["samples"]
        assert all(len(each["losses"]) == samples for each in data["runs"])
        assert len(data["images"]) == len(data["timesteps"]) == samples
        assert np.array(data["image"]).shape == (BINS, len(data["blocks"]))
        assert "/" not in file.read_text(encoding="utf-8")


def test_the_tables_and_figures_are_made_again_without_training(tmp_path: Path) -> None:
    command = [sys.executable, str(STUDY / "tables.py"), "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "| weighted | uniform |" in done.stdout
    assert "correlation within blocks and bins" in done.stdout
    assert "correlation with the gain alone" in done.stdout
    assert "| task | plan | from | to |" in done.stdout
    assert (tmp_path / "questions.svg").stat().st_size > 1000


def test_a_plan_of_several_draws_counts_as_their_mean(tables: ModuleType, run: ModuleType) -> None:
    (file, *_) = sorted(run.RESULTS.glob("*-main.json"))
    cell = tables.read_cell(file)
    draws = [cell.losses(f"random-{number}") for number in (1, 2)]
    seeds = min(len(each) for each in draws)
    mean = np.mean([each[:seeds] for each in draws], axis=0)
    np.testing.assert_allclose(cell.losses("random"), mean)
