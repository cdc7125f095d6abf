import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run


@pytest.mark.parametrize(
    ("stopped", "message", "written"),
    [
        ("lokr_weighting.studies.ablate._losses", "nothing was written", False),
        pytest.param(
            "lokr_weighting.studies.contact_sheet.images_of",
            "out holds the table and its figures, but no contact sheet",
            True,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_interrupted_it_says_what_there_is(
    stopped: str,
    message: str,
    written: bool,
    pipelines: Callable[[str], Path],
    digits: Path,
    cli: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stopped, interrupt)
    options = ["--model", pipelines("sd3"), "--data", digits, "--samples", "20"]
    done = cli("ablate", *options, "--images", "1", "--resolution", "64", "-o", "out")
    assert done.code == 130
    assert f"interrupted: {message}" in done.err
    assert (tmp_path / "out" / "ablation.json").exists() == written


@pytest.mark.slow
def test_the_command_on_the_digits_model(
    cli: Callable[..., Run], tmp_path: Path, digits: Path
) -> None:
    options = ["--model", "digits", "--data", digits, "--samples", "20"]
    done = cli("ablate", *options, "--images", "2", "--resolution", "64", "-o", "out")
    assert done.code == 0, done.err
    assert "On this model and these data, the image stream's distance" in done.out
    found = json.loads((tmp_path / "out" / "ablation.json").read_text())
    changes = {(each["kind"], each["first"], each["last"]): each for each in found["changes"]}
    assert len(changes) == 16
    # a trained model needs its blocks, the middle half more than any one of them
    single = [changes["skip", i, i]["change"] for i in range(12)]
    assert min(single) > 0
    assert changes["skip", 3, 8]["change"] > max(single)
    done = cli("calibrate", "--model", "digits", "--data", digits, "--samples", "20")
    assert done.code == 0, done.err
    done = cli("report", "calibration", "--ablation", "out/ablation.json")
    assert done.code == 0, done.err
    page = (tmp_path / "report.html").read_text()
    assert "What it costs to run blocks otherwise" in page
    assert "On this model and these data, the text stream&#39;s distance" in page
    for name in ("ablation", "distance_and_damage", "contact_sheet"):
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert image.width > 400
