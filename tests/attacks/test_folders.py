"""Folders of images with pipes, links in circles, and captions that are no text."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lokr_weighting import LokrWeightingError
from lokr_weighting.data.folder import Problem, find_images
from lokr_weighting.data.images import BrokenImage, open_image
from tests.attacks.hostile import refused_in_one_line
from tests.conftest import Run

Cli = Callable[..., Run]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty images, so that a broken one is left out."""
    for number in range(20):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number:02}.png")
    return tmp_path


@pytest.mark.parametrize("name", ["00.txt", "00.caption", "00.json", "00.png.txt"])
def test_a_pipe_in_a_captions_place_is_not_waited_for(folder: Path, name: str) -> None:
    os.mkfifo(folder / name)
    (problem,) = find_images(folder).problems
    assert problem.name == "00.png"
    assert f"{name}: is not a readable file" in problem.reason


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_a_pipe_in_the_place_of_metadata_is_not_waited_for(folder: Path, name: str) -> None:
    os.mkfifo(folder / name)
    assert len(find_images(folder).items) == 20


def test_links_in_a_circle_are_named(cli: Cli, folder: Path) -> None:
    (folder / "a.png").symlink_to("b.png")
    (folder / "b.png").symlink_to("a.png")
    (folder / "00.txt").symlink_to("00.txt")
    assert [problem.name for problem in find_images(folder).problems] == [
        *("00.png", "a.png", "b.png")
    ]
    (folder / "r.jsonl").symlink_to("r.jsonl")
    refused_in_one_line(cli("heatmaps", "r.jsonl"), "r.jsonl: cannot be read after line 0")
    refused_in_one_line(cli("verify", "r.jsonl", "--model", "digits"), "r.jsonl: cannot be read")


@pytest.mark.parametrize("key", ["caption", "text"])
def test_half_of_a_surrogate_pair_is_no_caption(folder: Path, key: str) -> None:
    (folder / "00.json").write_text(f'{{"{key}": ["good", "\\ud800"]}}')
    (problem,) = find_images(folder).problems
    assert "00.json: " in problem.reason
    assert "half of a surrogate pair" in problem.reason


def test_a_number_that_is_none_beside_a_caption_does_no_harm(folder: Path) -> None:
    (folder / "00.json").write_text('{"caption": "a", "score": NaN, "most": Infinity}')
    assert find_images(folder).items[0].captions == ("a",)


def test_a_name_that_is_no_text_is_kept_as_it_is(folder: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "a.png").rename(folder / name)
    assert find_images(folder).items[-1].name == name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF"])
def test_a_side_of_two_thousand_million_pixels_is_broken_at_once(folder: Path, kind: str) -> None:
    """What the header says is believed by nobody: nothing of that size is made."""
    path = folder / "a.png"
    Image.new("RGB", (258, 258)).save(path, format=kind)
    for order in ("big", "little"):
        side = (258).to_bytes(2, order)
        path.write_bytes(path.read_bytes().replace(side, b"\x7f\xff"))
    with pytest.raises((BrokenImage, LokrWeightingError), match=r"\S"):
        open_image(path)


def test_an_image_left_out_is_a_problem_by_its_name(folder: Path) -> None:
    (folder / "00.png").unlink()
    os.mkfifo(folder / "00.png")
    assert find_images(folder).problems == (Problem("00.png", "is not a readable file"),)
