import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Run
from tests.inputs import write_digits


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


@pytest.mark.slow
def test_the_painters_experiments_on_the_groups_that_similarity_found(
    pipelines: Callable[[str], Path], cli: Callable[..., Run], tmp_path: Path
) -> None:
    write_digits(tmp_path / "digits", 60)
    model = ("--model", pipelines("sd3"), "--data", "digits", "--resolution", 64, "--device", "cpu")
    done = cli("calibrate", *model, "--samples", 20, "--similarity", "-o", "c")
    assert done.code == 0, done.err
    assert cli("similarity", "c").code == 0
    options = ["--samples", 20, "--groups", "similarity", "--orders", 1, "--loops", 2]
    done = cli("ablate", *model, *options, "--images", 1, "-o", "out")
    assert done.code == 0, done.err
    assert "change when groups of blocks are run otherwise" in done.out
    assert "The statements of the study of SD3, Flux and AuraFlow" in done.out
    assert "Inside a block, over 10 timestep bins" in done.out
    assert "damage_by_timestep.png" in done.out
    file = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert {each["times"] for each in file["changes"] if each["kind"] == "looped"} == {2}
    # these digits can be told apart, or it is said that they cannot
    assert file["captions"] or "captions cannot be read from images" in done.err
    with Image.open(tmp_path / "out" / "damage_by_timestep.png") as image:
        assert image.width > 800
    # again: what is ours is replaced, and all of it is printed for scripts
    done = cli("ablate", *model, *options, "-o", "out", "--json")
    assert done.code == 0, done.err
    assert done.json["changes"] == file["changes"]
    assert {each["verdict"] for each in done.json["statements"]} <= {
        "agrees",
        "disagrees",
        "cannot tell",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by-bin"], "--by-bin, --loops and --orders go with --groups; give it too"),
        (["--loops", "4"], "--by-bin, --loops and --orders go with --groups; give it too"),
        (["--groups", "nowhere"], "nowhere: there is no such file"),
        (["--groups", "empty"], "empty: holds no similarity.json; measure with calibrate"),
        (["--groups", "empty", "-o", "empty/mine"], "empty: holds no similarity.json"),
    ],
)
def test_a_mistake_with_groups_is_one_clear_line(
    options: list[str],
    message: str,
    pipelines: Callable[[str], Path],
    digits: Path,
    cli: Callable[..., Run],
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    done = cli("ablate", "--model", pipelines("sd3"), "--data", digits, *options)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "ablation").exists()
