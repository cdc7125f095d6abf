"""The shipped pipeline is small, trained, and what `--model digits` means."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from lokr_weighting.models.known import shipped_pipeline
from tests.conftest import Run
from tests.inputs import SCRIPTS


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def folder() -> Path:
    found = shipped_pipeline("digits")
    assert found is not None
    return found


def test_the_pipeline_is_under_12_megabytes() -> None:
    assert sum(file.stat().st_size for file in folder().rglob("*") if file.is_file()) < 12e6


@pytest.mark.slow
@pytest.mark.usefixtures("scripts")
def test_what_it_draws_is_read_as_its_caption() -> None:
    """By a classifier of real digits, for every digit: it was trained."""
    from digits_images import DIGIT_WORDS, DigitReader, caption, digit_images

    pipeline = StableDiffusion3Pipeline.from_pretrained(folder())
    pipeline.set_progress_bar_config(disable=True)
    drawn: Any = pipeline(
        [caption(digit) for digit in range(len(DIGIT_WORDS))],
        num_inference_steps=14,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(0),
    )
    assert DigitReader(*digit_images()).read(drawn.images).tolist() == list(range(10))


@pytest.mark.slow
@pytest.mark.usefixtures("scripts")
def test_the_demos_job_on_digits_settles_and_differs_from_uniform(
    cli: Callable[..., Run], tmp_path: Path
) -> None:
    from digits_images import write_folder

    write_folder(tmp_path / "digits", count=60, seed=0)
    run = cli("generate", "--model", "digits", "--data", "digits", "--json")
    assert run.code == 0, run.err
    assert "the plan is settled" in run.err
    blocks = run.json["blocks"]
    assert len({block["factor"] for block in blocks}) > 3
    most = max(blocks, key=lambda block: block["image"])
    assert most["factor"] == 1  # where the image stream turns most
    assert cli("verify", "peft_config.json", "--model", "digits").code == 0


@pytest.mark.usefixtures("scripts")
def test_digit_images_are_written_evenly_and_the_same_each_time(tmp_path: Path) -> None:
    from digits_images import write_folder

    write_folder(tmp_path / "a", count=20, seed=3)
    write_folder(tmp_path / "b", count=20, seed=3)
    texts = sorted((tmp_path / "a").glob("*.txt"))
    assert len(texts) == len(list((tmp_path / "a").glob("*.png"))) == 20
    assert len({text.read_text() for text in texts}) == 10
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
