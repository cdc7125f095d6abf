from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tiny_pipelines
from tests.conftest import Run
from tests.inputs import records_in
from tests.pipelines.build import WHOLE


@pytest.mark.parametrize("kind", [*tiny_pipelines.KINDS, *WHOLE])
def test_generate_writes_a_configuration_that_verifies_exact(
    kind: str,
    pipelines: Callable[[str], Path],
    images: Path,
    cli: Callable[..., Run],
    tmp_path: Path,
) -> None:
    arguments = ("--model", pipelines(kind), "--data", images, "--resolution", 64, "--samples", 20)
    run = cli("generate", *arguments)
    assert run.code == 0, run.err
    assert "modules as planned" in run.out
    assert "±" in run.out  # standard errors are in the table
    assert cli("verify", "peft_config.json", "--model", pipelines(kind)).code == 0
    first = records_in(tmp_path / "peft_config.calibration")
    again = cli("generate", *arguments, "--budget", "uniform:4", "--blocks", "top:1")
    assert again.code == 0, again.err
    assert "Planned is a part of the model alone (--blocks top:1)." in again.out
    assert records_in(tmp_path / "peft_config.calibration") == first  # the calibration was reused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing/here", "--data", "images"], "no pipeline could be had from the hub"),
        (["--model", "images", "--data", "images"], "no model_index.json"),
        (["--model", "model", "--data", "nowhere"], "nowhere: there is no such folder"),
        (["--model", "model", "--data", "empty"], "empty"),
        (["--model", "model", "--data", "images", "--samples", "5"], "need at least 20"),
        (["--model", "model", "--data", "images", "--dtype", "int8"], "dtype = 'int8'"),
        (["--model", "model", "--data", "images", "--resolution", "50"], "multiple of 16"),
        (["--model", "model", "--data", "images", "--set", "bins=x"], "bins = 'x'"),
        (["--model", "model", "--data", "images", "--budget", "1"], "at least"),
        (["--model", "model", "--data", "images", "--blocks", "99"], "is no block of this model"),
        (["--model", "model", "--data", "images", "--recipe", "ablation"], "then plan --recipe"),
        (["--model", "model", "--data", "images", "--recipe", "nowhere.json"], "no such file"),
    ],
)
def test_a_mistake_is_one_clear_line(
    arguments: list[str],
    message: str,
    pipelines: Callable[[str], Path],
    images: Path,
    cli: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "model").symlink_to(pipelines("flux"))
    (tmp_path / "images").symlink_to(images)
    (tmp_path / "empty").mkdir()
    run = cli("generate", *arguments)
    assert run.code == 2
    errors = [line for line in run.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in run.err
    assert not (tmp_path / "peft_config.json").exists()
