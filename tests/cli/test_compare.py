from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.job import PreparedJob
from tests.conftest import Run

Cli = Callable[..., Run]
SMALL = ("--resolution", 64, "--budget", "uniform:4", "--steps", 10, "--batch", 2, "--seeds", 2)
SMALL += ("--rates", "1e-3,1e-2", "--samples", 40, "--text-tokens", 8)


@pytest.mark.slow
def test_one_command_compares_and_writes_a_page(
    pipelines: Callable[[str], Path], images: Path, cli: Cli, tmp_path: Path
) -> None:
    options = ("--model", pipelines("flux"), "--data", images, *SMALL, "--keep", images)
    plans = ("--plans", "weighted,uniform,random", "--draws", 2)
    run = cli("compare", *options, *plans, "-o", "c")
    assert run.code == 0, run.err
    assert "Plans at one budget" in run.out
    for name in ("weighted", "random-1", "random-2"):
        assert f"{name} beside uniform: " in run.out
    assert "random: 2 draws, differences" in run.out
    page = (tmp_path / "c" / "comparison.html").read_text()
    assert page.count("<svg") == 3
    assert "the recipe&#39;s contributions, given to blocks at random" in page
    assert "<script src" not in page
    assert (tmp_path / "c" / "plans" / "weighted.plan.json").exists()
    again = cli("compare", *options, *plans, "-o", "c", "--json")
    assert again.code == 0
    assert [plan["name"] for plan in again.json["plans"]] == [
        "weighted",
        "uniform",
        "random-1",
        "random-2",
    ]
    assert again.json["base_kept"] > 0


def test_interrupted_it_says_what_there_is_and_how_to_go_on(
    pipelines: Callable[[str], Path],
    images: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lokr_weighting.studies.training.Bench.train", interrupt)
    run = cli("compare", "--model", pipelines("sd3"), "--data", images, *SMALL, "-o", "c")
    assert run.code == 130
    assert "interrupted: 0 finished trainings are kept in c" in run.err
    assert "go on with: lokr-weighting compare" in run.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plans", "weighted"), "the reference 'uniform' is not among the plans"),
        (("--rates", "fast"), "--rates fast: write numbers separated by commas"),
        (("--rates", "1e-2,1e-3"), "rates must grow"),
        (("--seeds", 1), "seeds = 1: input should be greater than or equal to 2"),
        (("--samples", 10), "samples = 10"),
        (("--output", "taken"), "taken: is a file"),
        (("--recipe", "taken"), "taken:1: not valid JSON"),
    ],
)
def test_a_mistake_is_one_clear_line_before_anything_runs(
    options: tuple[object, ...], message: str, images: Path, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    run = cli("compare", "--model", "digits", "--data", images, *options)
    assert run.code == 2
    assert message in run.err
    assert run.err.startswith("error: ")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_a_folder_that_may_be_the_users_own_needs_force(
    images: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    options = ("--model", "digits", "--data", images, *SMALL, "--output", "mine")
    refused = cli("compare", *options)
    assert refused.code == 2
    assert "mine: holds files that are no comparison of lokr-weighting" in refused.err
    reached = LokrWeightingError("reached")

    def stop(*_: object, **__: object) -> None:
        raise reached

    monkeypatch.setattr("lokr_weighting.studies.compare.compare_folder", stop)
    assert "reached" in cli("compare", *options, "--force").err
    # what a comparison leaves that was stopped before it trained is its own
    (tmp_path / "mine" / "notes.txt").unlink()
    (tmp_path / "mine" / "plans").mkdir()
    (tmp_path / "mine" / "calibration").mkdir()
    assert "reached" in cli("compare", *options).err


def test_a_comparison_is_not_written_into_what_it_reads(images: Path, cli: Cli) -> None:
    run = cli("compare", "--model", "digits", "--data", images, *SMALL, "--output", images)
    assert run.code == 2
    assert "is read by this command" in run.err


def test_captions_come_from_where_it_is_told_and_what_is_ignored_is_said(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / f"{number}.png")
        (folder / f"{number}.caption").write_text("one")
        (folder / f"{number}.txt").write_text("other")
    (folder / "notes.pdf").write_text("mine")
    seen: list[str] = []

    def stop(prepared: PreparedJob, *_: object, **__: object) -> None:
        seen.extend(text for item in prepared.images.items for text in item.captions)
        raise KeyboardInterrupt

    monkeypatch.setattr("lokr_weighting.studies.compare.calibrate_folder", stop)
    options = ("--model", "digits", "--data", folder, *SMALL, "--captions", ".caption")
    run = cli("compare", *options)
    assert set(seen) == {"one"}
    assert "not read in" in run.err
    assert "1 .pdf" in run.err


def test_a_plan_that_is_not_known_is_answered_before_anything_is_measured(
    images: Path, cli: Cli, tmp_path: Path
) -> None:
    options = ("--model", "digits", "--data", images, *SMALL)
    run = cli("compare", *options, "--plans", "uniform,wieghted")
    assert run.code == 2
    assert "'wieghted' is none of weighted, uniform, inverse, random, later" in run.err
    assert not list(tmp_path.iterdir())
