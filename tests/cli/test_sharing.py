"""A calibration goes to the Hub and comes back, and nothing of the user's goes with it."""

import dataclasses
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lokr_weighting import read_calibration
from lokr_weighting.records.sharing import SHARED
from tests.conftest import Run
from tests.hub_server import Hub, serving
from tests.records.test_saving import calibration

SECRETS = ("holiday", "/home/me", "mothers_birthday", "wedding")
LICENSE = ("--license", "cc-by-4.0")


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """A calibration with all that a user may not want to give away, beside the numbers."""
    settings = {
        "model": "/home/me/models/holiday",
        "data": "wedding",
        "weights": "0123456789abcdef",
        "pipeline": "/home/me/x",
        "datasets": {"mothers_birthday": 12},
        "shares": {"mothers_birthday": 1.0},
        "quantization": {"backend": "quanto", "weights_dtype": "int8", "modules": "/home/me"},
        "seed": 0,
        "bins": 10,
        "resolution": 512,
        "images": 12,
    }
    # 12 blocks, as the digits model has
    full = dataclasses.replace(
        calibration(), settings=settings, skipped={"holiday.png": "is broken"}
    )
    return full.save(tmp_path / "measured", settled=True, same=0.9, near=0.97)


def test_nothing_but_numbers_and_the_card_is_in_what_is_uploaded(
    cli: Callable[..., Run], measured: Path
) -> None:
    options = ("--model", "a/model", "--to-folder", "shared")
    run = cli("push", measured, "me/it", *LICENSE, *options)
    assert run.code == 0, run.err
    assert "Wrote shared; nothing was uploaded" in run.out
    files = {file.name: file.read_bytes() for file in Path("shared").iterdir()}
    assert files.keys() <= {*SHARED}
    assert {"records.jsonl", "similarity.jsonl", "gains.json", "README.md"} <= files.keys()
    for name, data in files.items():
        assert not [word for word in SECRETS if word.encode() in data], name
    before, after = read_calibration(measured), read_calibration(Path("shared"))
    assert [each.line for each in after.records] == [each.line for each in before.records]
    assert after.heatmaps().identity == before.heatmaps().identity
    assert after.gains == before.gains
    assert after.settings["weights"] == "0123456789abcdef"
    assert after.settings["quantization"] == {"backend": "quanto", "weights_dtype": "int8"}
    assert {"data", "pipeline", "datasets", "shares"}.isdisjoint(after.settings)


def test_the_card_says_what_was_measured_how_and_the_licence(
    cli: Callable[..., Run], measured: Path
) -> None:
    cli("push", measured, "me/it", *LICENSE, "--model", "a/model", "--to-folder", "shared")
    text = Path("shared/README.md").read_text(encoding="utf-8")
    _, header, card = text.split("---\n", 2)
    said = yaml.safe_load(header)
    assert said["license"] == "cc-by-4.0"
    assert "lokr-weighting" in said["tags"]
    mean = read_calibration(measured).heatmaps().image.mean(axis=0)[3]
    assert f"| `transformer_blocks.3` | {mean:.4f} ± " in card
    assert "| resolution | 512 |" in card
    assert "The plan was settled: 97% of resamples" in card
    assert "lokr-weighting pull me/it" in card
    assert "Licence: cc-by-4.0" in card
    with Image.open("shared/heatmaps.png") as figure:
        assert figure.width > 2 * figure.height


def test_a_reference_may_be_a_folder_and_plans_as_the_calibration_does(
    cli: Callable[..., Run], measured: Path
) -> None:
    cli("push", measured, "me/it", *LICENSE, "--model", "digits", "--to-folder", "shared")
    plans = []
    for source in (("--reference", "shared"), ("--calibration", measured, "--model", "digits")):
        run = cli("plan", *source, "--no-read-back", "--json", "--output", "config.json")
        assert run.code == 0, run.err
        plans.append(run.json)
    assert plans[0]["parameters"] == plans[1]["parameters"]
    assert [each["kept"] for each in plans[0]["blocks"]] == [
        each["kept"] for each in plans[1]["blocks"]
    ]
    findings = [
        cli("findings", *source, "--json").json
        for source in (("--reference", "shared"), (measured,))
    ]
    assert findings[0] == findings[1]
    run = cli("plan", "--reference", "nothing", "--model", "digits")
    assert run.code == 2
    assert "or give the folder of one that `lokr-weighting pull` wrote" in run.err
    inside = cli("plan", "--reference", "shared", "--output", "shared/settings.json", "--force")
    assert "is read by this command" in inside.err


def test_what_cannot_be_shared_is_refused(cli: Callable[..., Run], measured: Path) -> None:
    run = cli("push", measured, "me/it", *LICENSE)
    assert run.code == 2
    assert "no name that others know; give --model with its hub id" in " ".join(run.err.split())
    run = cli("push", "nowhere", "me/it", *LICENSE)
    assert "nowhere: holds no calibration" in run.err
    Path("mine").mkdir()
    Path("mine/a.txt").write_text("mine")
    run = cli("push", measured, "me/it", *LICENSE, "--model", "a/b", "--to-folder", "mine")
    assert "mine: is not empty; give a new or empty folder" in run.err
    run = cli("push", measured, "me/it", *LICENSE, "--model", "a/b")
    assert run.code == 2
    assert "push asks before it uploads, and there is no terminal: --yes" in run.err
    assert "It says: bins: 10, seed: 0" in run.err
    assert "cc-by-4.0" in run.err


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


def on(
    hub: Hub,
    *arguments: object,
    changed: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
) -> Run:
    """Run the command line in a process that takes `hub` for the Hub."""
    command = [sys.executable, "-m", "lokr_weighting", *map(str, arguments)]
    home = {"HF_HOME": str(Path("home").absolute()), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment = {**os.environ, **home, **hub.environment, **(changed or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=stdin)
    return Run(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_pushed_and_pulled_it_is_the_same(
    hub: Hub, cli: Callable[..., Run], measured: Path
) -> None:
    push = ("push", measured, "me/it", *LICENSE, "--model", "a/model", "--yes")
    run = on(hub, *push, "--private")
    assert run.code == 0, run.err
    assert f"Uploaded to {hub.address}/datasets/me/it" in run.out
    assert hub.private == {"me/it"}
    cli(*push[:-1], "--to-folder", "shared")
    there = hub.repositories["me/it"]
    assert {name: data for name, data in there.items() if name != ".gitattributes"} == {
        file.name: file.read_bytes() for file in Path("shared").iterdir()
    }
    # what a repository holds beside is left there
    there |= {"extra.py": b"print()", "gains.json.bak": b"", "pictures/a.png": b""}
    run = on(hub, "pull", "me/it", "--output", "pulled")
    assert run.code == 0, run.err
    assert "Plan with: lokr-weighting plan --reference pulled" in run.out
    assert {file.name for file in Path("pulled").iterdir()} == {
        file.name for file in Path("shared").iterdir()
    }
    for file in Path("shared").iterdir():
        assert (Path("pulled") / file.name).read_bytes() == file.read_bytes()

    run = on(hub, "pull", "me/it", "--output", "pulled")
    assert run.code == 2
    assert "it may be a measurement of your own" in run.err
    # a second push takes away what the calibration does not have any more
    fewer = dataclasses.replace(read_calibration(measured), gains=None)
    fewer.save(Path("fewer"))
    assert on(hub, "push", "fewer", *push[2:]).code == 0
    assert "gains.json" not in there
    assert "extra.py" in there
    assert on(hub, "pull", "me/it", "--output", "pulled", "--force").code == 0
    assert read_calibration(Path("pulled")).gains is None


@pytest.mark.slow
def test_what_the_hub_refuses_is_one_line(
    hub: Hub, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(measured.parent)
    push = ("push", measured, "me/it", *LICENSE, "--model", "a/model", "--yes")
    hub.repositories["me/it"] = {"README.md": b"mine"}
    for arguments, changed, message in (
        (push, {}, "me/it: is there and holds no calibration (README.md, ...); name another"),
        (("pull", "me/it"), {}, "me/it: holds no calibration (calibration.json is missing)"),
        (("pull", "me/other"), {}, "me/other: there is no such dataset on the Hub"),
        (("pull", "me/it"), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set, so the Hub is not"),
        (("pull", "a/b/c"), {}, "a/b/c: the Hub cannot be asked ("),
        (push, {"HF_TOKEN": "hf_wrong"}, "me/it: the Hub does not allow it ("),
        (("pull", "me/it"), {"HF_ENDPOINT": "http://127.0.0.1:9"}, "the Hub cannot be asked ("),
    ):
        if changed.get("HF_TOKEN"):
            del hub.repositories["me/it"]
        run = on(hub, *arguments, changed=changed)
        assert run.code == 2, run.err
        (line,) = [each for each in run.err.splitlines() if each.startswith("error: ")]
        assert message in line
        assert "Traceback" not in run.err
    assert not hub.repositories
    # asked at a terminal, it takes no for an answer
    terminal, end = pty.openpty()
    os.write(terminal, b"n\n")
    run = on(hub, *push[:-1], stdin=end)
    os.close(terminal)
    os.close(end)
    assert run.code == 2
    assert "Upload?" in run.err
    assert "error: nothing was uploaded" in run.err
    assert not hub.repositories


@pytest.mark.slow
def test_a_damaged_calibration_is_not_taken(
    hub: Hub, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(measured.parent)
    push = ("push", measured, "me/it", *LICENSE, "--model", "a/model", "--yes")
    assert on(hub, *push).code == 0
    hub.repositories["me/it"]["records.jsonl"] += b"{}\n"
    run = on(hub, "pull", "me/it", "--output", "pulled")
    assert run.code == 2
    assert "error: me/it: not what it was when the calibration was finished" in run.err
    assert "this is what was downloaded" in run.err
    assert not Path("pulled").exists()
