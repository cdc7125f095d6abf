from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.conftest import Run

Cli = Callable[..., Run]


def test_the_reference_is_read_in_words_and_drawn(cli: Cli, tmp_path: Path) -> None:
    run = cli("findings", "--reference", "sd3.5-large", "-o", "marked.png")
    assert run.code == 0, run.err
    assert "Islands, text: 19 to 31" in run.out
    assert "Wrote marked.png" in run.out
    with Image.open(tmp_path / "marked.png") as image:
        assert image.width > 800
    again = cli("findings", "--reference", "sd3.5-large", "-o", "marked.png")
    assert again.code == 2
    assert "marked.png: exists; --force replaces it" in again.err


def test_json_has_every_number_and_its_sentence(cli: Cli) -> None:
    run = cli("findings", "--reference", "sd3.5-large", "--json")
    assert run.code == 0, run.err
    island = next(
        each for each in run.json if each["kind"] == "island" and each["stream"] == "text"
    )
    assert island["blocks"] == list(range(19, 32))
    assert island["sentence"].startswith("Blocks 19 to 31, the text stream: 2.0 times")
    assert island["kept"] is None


def test_a_measurement_must_be_given(cli: Cli) -> None:
    run = cli("findings")
    assert run.code == 2
    assert "give exactly one of --records, --calibration, --heatmaps and --reference" in run.err
