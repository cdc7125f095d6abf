"""Reports and comparisons, from the command line, on the reference and on the digits model."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.conftest import Run
from tests.inputs import write_digits

Cli = Callable[..., Run]
FIGURES = {"streams", "combined", "factors", "contributions"}


@pytest.mark.slow
def test_the_reference_becomes_one_page_without_network(cli: Cli, tmp_path: Path) -> None:
    done = cli("report", "--reference", "sd3.5-large", "-o", "page.html")
    assert done.code == 0, done.err
    page = (tmp_path / "page.html").read_text()
    assert not re.search(r"<script [^>]*src|<link|src=\"http|url\(http|@import", page)
    addresses = set(re.findall(r"https?://[^\"'<> )]+", page)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    # names of vocabularies inside the SVG's metadata, which nothing fetches
    assert all(
        address.startswith(
            ("http://purl.org/", "http://www.w3.org/", "http://creativecommons.org/")
        )
        or address == "https://matplotlib.org/"
        for address in addresses
    )
    assert page.count("<svg") == 5
    assert "Islands, text: 19 to 31" in page
    assert page.count('<tr class="critical">') == 3
    assert "Critical blocks: 0 (image and text), 31 (text), 35 (image)" in page
    assert "makes all 529 modules as planned" in page
    assert page.count("transformer_blocks.37.") == 11
    for name in FIGURES:
        with Image.open(tmp_path / "page.figures" / f"{name}.png") as image:
            assert image.width > 800
        assert (tmp_path / "page.figures" / f"{name}.svg").stat().st_size > 1000


@pytest.mark.slow
def test_the_report_shows_what_a_trained_adapter_did(cli: Cli, tmp_path: Path) -> None:
    name = "transformer_blocks.{}.attn.{}"
    tensors = {
        f"transformer.{name.format(block, linear)}.{kind}": torch.full(shape, block / 38 + 0.1)
        for block in range(38)
        for linear in ("to_q", "add_q_proj")
        for kind, shape in (("lora_A.weight", (1, 2432)), ("lora_B.weight", (2432, 1)))
    }
    save_file(tensors, tmp_path / "a.safetensors")
    arguments = ("report", "--reference", "sd3.5-large", "-o", "page.html")
    done = cli(*arguments, "--adapter", "a.safetensors")
    assert done.code == 0, done.err
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 6
    assert "What the trained adapter changed" in page
    assert "369,664 parameters in 76 modules, LoRA." in page
    assert "Only the change itself is given: the weights of sd3.5-large are not at hand" in page
    assert (tmp_path / "page.figures" / "adapter.png").stat().st_size > 1000
    over = cli(*arguments[:-1], "a.html", "--adapter", "none.safetensors")
    assert over.code == 2
    assert "none.safetensors: there is no such file or folder" in over.err


def test_an_adapter_of_a_model_that_is_not_found_is_refused(cli: Cli) -> None:
    done = cli("report", "--reference", "sd3.5-large", "--model", "x", "--adapter", "a.safetensors")
    assert done.code == 2
    assert "a.safetensors: the model x that it changes is not found; give --model" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a calibration's folder or --reference"),
        (("nothing",), "holds no calibration"),
        (("--reference", "sd4"), "sd4"),
        (("--reference", "sd3.5-large", "-o", "page.pdf"), "name it *.html"),
        (
            ("--reference", "sd3.5-large", "--plan", "p", "--budget", "1M"),
            "--budget, --recipe and --set are for a plan",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = cli("report", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not list(tmp_path.glob("*.html"))


@pytest.fixture(scope="module")
def calibrations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The digits model on digits, with two seeds, and on inverted digits."""
    root = tmp_path_factory.mktemp("digits")
    write_digits(root / "digits_images", 40)
    write_digits(root / "inverted_images", 40, "--invert")
    found = {}
    for name, images, seed in (
        ("first", "digits", "0"),
        ("second", "digits", "1"),
        ("inverted", "inverted", "0"),
    ):
        found[name] = root / name
        command = [sys.executable, "-m", "lokr_weighting", "calibrate", "--model", "digits"]
        options = ["--data", str(root / f"{images}_images"), "--seed", seed, "--samples", "160"]
        subprocess.run([*command, *options, "--output", str(found[name])], check=True)
    return found


@pytest.mark.slow
def test_a_calibrations_report_shows_how_its_plan_settled(
    cli: Cli, tmp_path: Path, calibrations: dict[str, Path]
) -> None:
    done = cli("report", calibrations["first"], "-o", "page.html")
    assert done.code == 0, done.err
    page = (tmp_path / "page.html").read_text()
    # the last judgement that the stop rule would have made: after 80, 100 and 130
    assert "After 130 samples" in page
    assert (tmp_path / "page.figures" / "settling.png").exists()
    assert "lokr-weighting 0.2.0, torch" in page
    assert "±" in page


@pytest.mark.slow
def test_the_same_data_do_not_differ_and_inverted_data_do(
    cli: Cli, calibrations: dict[str, Path]
) -> None:
    done = cli("diff", calibrations["first"], calibrations["second"])
    assert done.code == 0, done.err
    assert "No difference beyond chance in 23 blocks and streams" in done.out
    done = cli("diff", calibrations["first"], calibrations["inverted"])
    assert "Mean distances that differ beyond chance" in done.out
    assert "What changes in the plan" in done.out
    found = cli("diff", calibrations["first"], calibrations["inverted"], "--json").json
    assert len([each for each in found["differences"] if each["beyond_chance"]]) > 3
    assert found["moved"]
