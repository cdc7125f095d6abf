"""One rule for every command: what is not ours needs --force, and an input is never written to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lokr_weighting import calibrate_folder
from tests.conftest import Run
from tests.inputs import SHORT, job, write_records

Cli = Callable[..., Run]
PLAN = ("plan", "--reference", "sd3.5-large", "--no-read-back")
REPORT = ("report", "--reference", "sd3.5-large")


@pytest.fixture(scope="module")
def calibration(
    pipelines: Callable[[str], Path], images: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("measured") / "c"
    calibrate_folder(job(pipelines("flux"), images), folder, stop=SHORT, similarity=True)
    return folder


COMMANDS = [
    (PLAN, "peft_config.json"),
    (PLAN, "peft_config.plan.json"),
    ((*PLAN, "--output", "x.json"), "x.plan.json"),
    (("heatmaps", "r.jsonl"), "heatmaps.json"),
    ((*REPORT, "--output", "p.html"), "p.html"),
    ((*REPORT, "--output", "p.html"), "p.figures/streams.png"),
    (("similarity", "c", "--output", "s"), "s/similarity.json"),
    (("similarity", "c", "--output", "s"), "s/similarity.png"),
]


@pytest.mark.parametrize(("arguments", "output"), COMMANDS)
@pytest.mark.parametrize("content", ["mine", "{}", '{"blocks": []}'])
def test_a_file_of_the_users_needs_force(
    cli: Cli,
    tmp_path: Path,
    calibration: Path,
    arguments: tuple[str, ...],
    output: str,
    content: str,
) -> None:
    write_records(tmp_path / "r.jsonl")
    shutil.copytree(calibration, tmp_path / "c")
    (tmp_path / output).parent.mkdir(exist_ok=True)
    (tmp_path / output).write_text(content)
    before = sorted(tmp_path.rglob("*"))
    run = cli(*arguments)
    assert run.code == 2
    assert "--force replaces it, --output writes elsewhere" in run.err
    assert (tmp_path / output).read_text() == content
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        PLAN,
        ("heatmaps", "r.jsonl"),
        (*REPORT, "--output", "p.html"),
        ("similarity", "c", "--output", "s"),
    ],
)
def test_what_was_written_here_is_written_again_without_a_word(
    cli: Cli, tmp_path: Path, calibration: Path, arguments: tuple[str, ...]
) -> None:
    write_records(tmp_path / "r.jsonl")
    shutil.copytree(calibration, tmp_path / "c")
    for _ in range(2):
        run = cli(*arguments)
        assert (run.code, run.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("heatmaps", "r.jsonl", "--output", "r.jsonl"), "r.jsonl"),
        (("heatmaps", "r.jsonl", "--output", "link.jsonl"), "r.jsonl"),
        (("heatmaps", "r.jsonl", "--output", "x/../r.jsonl"), "r.jsonl"),
        (("plan", "--records", "r.jsonl", "--output", "r.jsonl"), "r.jsonl"),
        (("plan", "--heatmaps", "h.json", "--output", "h.json"), "h.json"),
        ((*PLAN, "--recipe", "recipe.json", "--output", "recipe.json"), "recipe.json"),
        (("plan", "--calibration", "c", "--output", "c/settings.json"), "c/settings.json"),
        (("plan", "--recipe", "x.plan.json", "--output", "x.json"), "x.plan.json"),
    ],
)
def test_an_output_is_never_an_input_not_even_by_force(
    cli: Cli, tmp_path: Path, calibration: Path, arguments: tuple[str, ...], output: str
) -> None:
    write_records(tmp_path / "r.jsonl")
    (tmp_path / "link.jsonl").symlink_to("r.jsonl")
    (tmp_path / "x").mkdir()
    (tmp_path / "h.json").write_text('{"image": [[0.1]], "text": [[0.1]]}')
    for name in ("recipe.json", "x.plan.json"):
        (tmp_path / name).write_text('{"max_factor": 8}')
    shutil.copytree(calibration, tmp_path / "c")
    before = (tmp_path / output).read_bytes()
    run = cli(*arguments, "--force")
    assert run.code == 2
    assert "is read by this command" in run.err
    assert (tmp_path / output).read_bytes() == before


def test_killed_between_plan_and_configuration_the_same_command_goes_on(
    cli: Cli, tmp_path: Path
) -> None:
    assert cli(*PLAN).code == 0
    whole = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    (tmp_path / "peft_config.json").unlink()  # the plan is written first
    assert cli(*PLAN).code == 0
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == whole


def test_the_plan_is_there_before_the_configuration(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lokr_weighting.targets.lycoris import config

    def killed(path: Path, _: object) -> None:
        assert json.loads((tmp_path / "peft_config.plan.json").read_text())["schema_version"] == 1
        assert not path.exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(config, "write_config", killed)
        assert cli(*PLAN).code != 0
    assert [file.name for file in tmp_path.iterdir()] == ["peft_config.plan.json"]
    assert cli(*PLAN).code == 0


def test_adapters_of_another_plan_or_kind_are_not_left_beside_the_new_ones(cli: Cli) -> None:
    written: dict[str, set[str]] = {}
    for name, options in {
        "three": ("--target", "peft"),
        "one": ("--target", "peft", "--budget", "uniform:16"),
        "lora": ("--target", "lora"),
    }.items():
        for folder in ("adapter", name):
            assert cli(*PLAN, *options, "--output", folder).code == 0
        files = {
            folder: {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.json")}
            for folder in ("adapter", name)
        }
        assert files["adapter"] == files[name]
        written[name] = files[name]
    assert written["three"] != written["one"]


def robbed(write: Callable[..., object], folder: Path) -> Callable[..., object]:
    """Removes the folder, and then writes."""

    def rob(*arguments: object) -> object:
        shutil.rmtree(folder, ignore_errors=True)
        return write(*arguments)

    return rob


def files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_configuration_is_never_left_without_its_plan(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lokr_weighting.targets.lycoris import config

    out = tmp_path / "out"
    command = (*PLAN, "--output", "out/x.json")
    with monkeypatch.context() as patched:
        patched.setattr(config, "write_config", robbed(config.write_config, out))
        assert cli(*command).code == 0
    whole = files_in(out)
    assert set(whole) == {"x.json", "x.plan.json"}
    assert cli(*command).code == 0
    assert files_in(out) == whole


@pytest.mark.slow
def test_a_folder_deleted_meanwhile_is_one_line_and_exit_code_3(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lokr_weighting.show.report import page

    out = tmp_path / "out"
    command = (*REPORT, "--output", "out/x.html")
    assert cli(*command).code == 0
    whole = files_in(out)
    with monkeypatch.context() as patched:
        patched.setattr(page, "save", robbed(page.save, out))
        run = cli(*command)
    assert run.code == 3
    assert run.err.startswith("error: out/x.figures/")
    assert run.err.endswith("was removed while this ran; the same command writes it again\n")
    assert run.err.count("\n") == 1
    assert cli(*command).code == 0
    assert files_in(out) == whole


def test_a_report_may_lie_in_the_calibration_that_it_shows(
    cli: Cli, tmp_path: Path, calibration: Path
) -> None:
    shutil.copytree(calibration, tmp_path / "c")
    arguments = ("plan", "--calibration", "c", "--output", "c/peft_config.json")
    for _ in range(2):
        run = cli(*arguments, "--no-read-back", "--model", _model(calibration))
        assert run.code == 0, run.err


def _model(calibration: Path) -> str:
    return json.loads((calibration / "settings.json").read_text())["model"]
