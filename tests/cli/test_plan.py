import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lokr_weighting import read_plan
from lokr_weighting.studies.ablation_file import write_ablation
from tests.conftest import Run
from tests.inputs import write_records
from tests.studies.test_ablation import made_up

Cli = Callable[..., Run]


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


def test_without_read_back_the_same_files_are_written_and_it_says_so(
    cli: Cli, tmp_path: Path
) -> None:
    planned = ("plan", "--reference", "sd3.5-large", "--budget", "120M")
    assert cli(*planned).code == 0
    first = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    again = cli(*planned, "--no-read-back")
    assert again.code == 0
    assert "Not read back (--no-read-back)" in again.out
    assert "makes all" not in again.out
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == first
    assert cli(*planned, "--no-read-back", "--json").json["read_back"] is None
    assert "as planned" in cli(*planned, "--json").json["read_back"]


def test_a_plan_without_read_back_needs_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "sys.argv = ['lokr-weighting', 'plan', '--reference', 'sd3.5-large', '--no-read-back']\n"
        "from lokr_weighting.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    assert not {'torch', 'diffusers', 'lycoris', 'peft'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "peft_config.json").exists()


def test_a_recipe_is_given_by_name_or_file_and_a_wrong_name_says_which_there_are(
    cli: Cli, tmp_path: Path
) -> None:
    output = str(tmp_path / "lokr.json")
    options = ["--reference", "sd3.5-large", "--no-read-back", "--json", "-o", output]
    named = cli("plan", *options, "--recipe", "streams")
    assert json.loads(named.out)["recipe"]["name"] == "streams"
    file = tmp_path / "streams.json"
    file.write_text('{"name": "streams"}')
    assert cli("plan", *options, "--recipe", str(file)).out == named.out
    wrong = cli("plan", *options, "--recipe", "gradients")
    assert wrong.code == 2
    assert "is none of distance, streams, gradient, gradient-norm, ablation" in wrong.err
    assert "there is no such file" in wrong.err


def test_the_recipe_ablation_goes_by_an_ablations_file(cli: Cli, tmp_path: Path) -> None:
    output = tmp_path / "lokr.json"
    damage = [float(block % 5) for block in range(38)]
    write_ablation(tmp_path / "a.json", made_up(damage, damage, damage, "transformer_blocks"))
    options = ["--reference", "sd3.5-large", "--no-read-back", "-o", str(output)]
    options += ["--recipe", "ablation"]
    refused = cli("plan", *options)
    assert (refused.code, output.exists()) == (2, False)
    assert "give --ablation ablation.json" in refused.err
    assert cli("plan", *options, "--ablation", str(tmp_path / "a.json")).code == 0
    plan = read_plan(output.with_suffix(".plan.json"))
    assert [block.contribution for block in plan.blocks] == [each / 4 for each in damage]
