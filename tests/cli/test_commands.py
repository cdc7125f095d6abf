import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run

Cli = Callable[..., Run]


def write_records(path: Path, blocks: int = 38, count: int = 40) -> None:
    rng = np.random.default_rng(0)
    level = rng.uniform(0.02, 0.3, blocks)
    with path.open("w") as file:
        for t in (np.arange(count) + 0.5) / count:
            image = level + rng.uniform(0, 0.01, blocks)
            record = {
                "timestep": t,
                "hidden_states": image.tolist(),
                "encoder_hidden_states": image[:-1].tolist(),
            }
            file.write(json.dumps(record) + "\n")


def test_help_answers_without_importing_torch_or_numpy() -> None:
    script = (
        "import sys\n"
        "sys.argv = ['lokr-weighting', '--help']\n"
        "from lokr_weighting.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    assert not {'torch', 'diffusers', 'lycoris', 'peft'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "verify" in done.stdout


def test_importing_the_package_does_not_import_torch() -> None:
    script = "import sys, lokr_weighting; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_main_job_end_to_end(cli: Cli, tmp_path: Path) -> None:
    planned = cli("plan", "--reference", "sd3.5-large")
    assert planned.code == 0
    assert (
        "*: critical. Critical blocks 0 (image, text), 31 (text), 35 (image) take 69.5%"
        in planned.out
    )
    assert "makes all 529 modules as planned" in planned.out
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "peft_config.json",
        "peft_config.plan.json",
    ]
    verified = cli("verify", "peft_config.json", "--model", "sd3.5-large")
    assert verified.code == 0
    assert "Exact: all 529 modules" in verified.out


def test_verify_of_the_published_file_fails_and_says_why(cli: Cli, published_config: Path) -> None:
    run = cli("verify", published_config, "--model", "sd3.5-large")
    assert run.code == 1
    assert "1,123,057,848 parameters are made, 765,636,738 asked for" in run.out
    assert "... and 331 more; --all shows them" in run.out
    data = cli("verify", published_config, "--model", "sd3.5-large", "--json").json
    assert data["counts"] == {"exact": 178, "wrong": 351, "missing": 0, "unasked": 0}
    assert len(data["modules"]) == 351


def test_inspect_shows_the_cost_per_block_and_in_all(cli: Cli) -> None:
    cli("plan", "--reference", "sd3.5-large")
    data = cli("inspect", "peft_config.json", "--model", "sd3.5-large", "--json").json
    assert data["parameters"] == sum(row["parameters"] for row in data["blocks"]) == 765636738
    assert data["blocks"][0]["parameters"] == 177438758
    shown = cli("inspect", "peft_config.json", "--model", "sd3.5-large")
    assert "transformer_blocks.37" in shown.out
    assert "765,636,738 trainable parameters" in shown.out


def test_planning_twice_gives_the_same_files(cli: Cli, tmp_path: Path) -> None:
    cli("plan", "--reference", "sd3.5-large", "--budget", "120M")
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert cli("plan", "--reference", "sd3.5-large", "--budget", "120M").code == 0
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first


def test_records_and_their_heatmaps_give_the_same_plan(cli: Cli, tmp_path: Path) -> None:
    write_records(tmp_path / "records.jsonl")
    of_records = cli("plan", "--records", "records.jsonl", "--model", "sd3.5-large", "--json").json
    averaged = cli("heatmaps", "records.jsonl")
    assert "40 samples, 10 bins, 38 blocks" in averaged.out
    of_heatmaps = cli(
        "plan", "--heatmaps", "heatmaps.json", "--model", "sd3.5-large", "--json"
    ).json
    assert of_records["linears"] == of_heatmaps["linears"]
    assert of_records["measurement"] == of_heatmaps["measurement"]
    # only records can be resampled
    assert 0 <= of_records["blocks"][0]["kept"] <= 1
    assert of_heatmaps["blocks"][0]["kept"] is None


def test_settings_come_from_a_file_and_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text('{"max_factor": 20, "critical": "off"}')
    arguments = ("plan", "--reference", "sd3.5-large", "--recipe", "recipe.json", "--json")
    recipe = cli(*arguments, "--set", "max_factor=6", "--set", "missing_text=image").json["recipe"]
    assert (recipe["max_factor"], recipe["critical"], recipe["missing_text"]) == (6, "off", "image")


def test_a_template_is_kept_and_never_replaced(cli: Cli, tmp_path: Path) -> None:
    template = tmp_path / "lycoris_config.json"
    template.write_text('{"algo": "lokr", "linear_dim": 10000, "rank_dropout": 0.1}')
    arguments = ("plan", "--reference", "sd3.5-large", "--template", "lycoris_config.json")
    assert cli(*arguments).code == 0
    assert json.loads((tmp_path / "peft_config.json").read_text())["rank_dropout"] == 0.1
    refused = cli(*arguments, "--force", "--output", "lycoris_config.json")
    assert (refused.code, "is the template" in refused.err) == (2, True)
    assert json.loads(template.read_text())["rank_dropout"] == 0.1


def test_a_file_of_the_users_is_not_replaced_unasked(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "peft_config.json"
    mine.write_text("my own work")
    refused = cli("plan", "--reference", "sd3.5-large")
    assert refused.code == 2
    assert "--force replaces it" in refused.err
    assert mine.read_text() == "my own work"
    assert cli("plan", "--reference", "sd3.5-large", "--force").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan"], "exactly one of --records, --calibration, --heatmaps"),
        (["plan", "--reference", "sd9"], "shipped: sd3.5-large"),
        (["plan", "--records", "no.jsonl", "--model", "sd3.5-large"], "no.jsonl: there is no such"),
        (["plan", "--records", "bad.jsonl", "--model", "sd3.5-large"], "bad.jsonl:2: "),
        (["plan", "--records", "few.jsonl", "--model", "sd3.5-large"], "do not fill 10 bins"),
        (["plan", "--records", "good.jsonl"], "give --model"),
        (["plan", "--records", "good.jsonl", "--model", "sd3.5-medium"], "has 38 blocks, but"),
        (["plan", "--records", "good.jsonl", "--model", "nothing"], "no such folder"),
        (["plan", "--reference", "sd3.5-large", "--budget", "1M"], "at least 5,958,456"),
        (["plan", "--reference", "sd3.5-large", "--set", "factor=3"], "unknown key 'factor'"),
        (["plan", "--reference", "sd3.5-large", "--set", "max_factor"], "write NAME=VALUE"),
        (["plan", "--reference", "sd3.5-large", "--set", "max_factor=0"], "max_factor = 0"),
        (["plan", "--reference", "sd3.5-large", "--set", "bins=5"], "already averaged"),
        (["plan", "--reference", "sd3.5-large", "--recipe", "bad.jsonl"], "bad.jsonl:2: not valid"),
        (["plan", "--reference", "sd3.5-large", "--output", "."], "is a folder"),
        (["verify", "no.json", "--model", "sd3.5-large"], "no.json: there is no such file"),
        (["verify", "list.json", "--model", "sd3.5-large"], "holds a JSON list"),
        (["inspect", "list.json", "--model", "sd3.5-large"], "holds a JSON list"),
        (["heatmaps", "bad.jsonl"], "bad.jsonl:2: "),
    ],
)
def test_a_mistake_is_one_clear_line_exit_code_2_and_nothing_written(
    cli: Cli, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_records(tmp_path / "good.jsonl")
    write_records(tmp_path / "few.jsonl", count=4)
    lines = (tmp_path / "good.jsonl").read_text().splitlines()
    (tmp_path / "bad.jsonl").write_text(f"{lines[0]}\n{lines[1][:50]}")
    (tmp_path / "list.json").write_text("[]")
    before = sorted(tmp_path.iterdir())
    run = cli(*arguments)
    assert run.code == 2
    assert message in run.err
    assert run.err.startswith("error: ")
    assert run.err.count("\n") == 1
    assert run.out == ""
    assert sorted(tmp_path.iterdir()) == before


def test_version_is_printed(cli: Cli) -> None:
    assert cli("--version").out.strip() == "0.2.0"


def test_a_plan_is_written_for_peft_and_for_lora(cli: Cli, tmp_path: Path) -> None:
    from lokr_weighting.targets.peft.layout import read_configs

    reference = ("plan", "--reference", "sd3.5-large", "--budget", "120M")
    done = cli(*reference, "--target", "peft")
    assert done.code == 0, done.err
    assert "makes all 529 modules as planned" in done.out
    configs = read_configs(tmp_path / "adapter")
    assert sum(len(config.target_modules or ()) for config in configs.values()) <= 529
    assert (tmp_path / "adapter.plan.json").exists()
    assert not list((tmp_path / "adapter").glob("*/*.safetensors"))

    done = cli(*reference, "--target", "lora", "--output", "lora")
    assert done.code == 0, done.err
    assert (
        json.loads((tmp_path / "lora" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    )

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file.txt").write_text("my own")
    assert "may be your own" in cli(*reference, "--target", "peft", "--output", "mine").err
    done = cli(*reference, "--target", "peft", "--output", "mine/file.txt")
    assert "is a file; give a folder" in done.err
    done = cli(*reference, "--target", "peft", "--template", "adapter.plan.json")
    assert "--template is a LyCORIS configuration" in done.err
