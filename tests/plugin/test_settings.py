"""Settings and refusals, parsed by SimpleTuner's own parser."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from accelerate import DistributedType
from lokr_weighting_simpletuner.refusals import check_config, not_used
from lokr_weighting_simpletuner.run import _what_is_trained

from lokr_weighting import LokrWeightingError
from tests.plugin.runs import LYCORIS, environment, prepare

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "example_configs" / "simpletuner"
NAMES = [path.name for path in sorted(EXAMPLES.iterdir()) if path.is_dir()]

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "full": ({"model_type": "full"}, "model_type is 'full'"),
    "standard": ({"lora_type": "standard"}, "set lora_type to 'lycoris'"),
    "init_lora": ({"init_lora": "adapter.safetensors"}, "take init_lora out"),
    "fused": ({"fuse_qkv_projections": True}, "fuse_qkv_projections leaves projections"),
    "fsdp": ({"fsdp_enable": True}, "under FSDP measure in one process"),
    "deepspeed": ({"deepspeed_config": "ds.json"}, "under DeepSpeed measure in one process"),
    "family": (
        {"model_family": "cosmos", "model_flavour": None},
        "'cosmos' cannot be measured (it noises its images in a way of its own); known are auraf",
    ),
    "flavour": (
        {"model_family": "qwen_image", "model_flavour": "v2.1"},
        "model_flavour 'v2.1' of qwen_image cannot be measured (its transformer is another",
    ),
    "samples": ({"lokr_weighting_samples": 5}, "lokr_weighting_samples = 5: 10 timestep bins"),
    "budget": ({"lokr_weighting_budget": "lots"}, "budget 'lots' is not understood"),
    "tokens": ({"lokr_weighting_tokens": "first"}, "lokr_weighting_tokens"),
    "recipe": ({"lokr_weighting_recipe": "none.json"}, "none.json: there is no such file"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What becomes of every case, all parsed in one process."""
    root = tmp_path_factory.mktemp("parsed")
    cases: dict[str, tuple[str, str | None, list[str]]] = {}
    for name, (changes, _) in REFUSED.items():
        run = prepare(root / name, "sd3", root, root, **changes)
        cases[name] = (str(run.folder), None, [])
    accepted: dict[str, dict[str, Any]] = {
        "defaults": {},
        "given": {
            "lokr_weighting_budget": "120M",
            "lokr_weighting_samples": 200,
            "lokr_weighting_reuse": False,
            "lokr_weighting_on_error": "continue",
        },
        "off": {"lokr_weighting": False, "lora_type": "standard"},
    }
    for name, changes in accepted.items():
        run = prepare(root / name, "sd3", root, root, **changes)
        cases[name] = (str(run.folder), None, [])
    command = ["--lokr_weighting_budget=60M", "--lokr_weighting_measure_only", "--seed=1"]
    cases["command line"] = (cases["given"][0], None, command)
    half = prepare(root / "half", "sd3", root, root)
    template = half.folder / "config" / "lycoris_config.json"
    template.write_text(json.dumps({**json.loads(template.read_text()), "multiplier": 0.5}))
    cases["half"] = (str(half.folder), None, [])
    loha = prepare(root / "loha", "sd3", root, root)
    template = loha.folder / "config" / "lycoris_config.json"
    template.write_text(json.dumps({**json.loads(template.read_text()), "algo": "loha"}))
    cases["loha"] = (str(loha.folder), None, [])
    shutil.copytree(EXAMPLES, root / "examples" / "config")
    cases |= {f"example {name}": (str(root / "examples"), name, []) for name in NAMES}

    file = root / "cases.json"
    file.write_text(json.dumps(list(cases.values())))
    script = Path(__file__).parent / "parsed.py"
    env = environment()
    del env["CONFIG_PATH"]
    subprocess.run([sys.executable, str(script), str(file)], env=env, check=True)
    return dict(zip(cases, json.loads(file.read_text()), strict=True))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_weighted_is_refused_with_the_reason(
    name: str, answers: dict[str, dict[str, Any]]
) -> None:
    assert REFUSED[name][1] in answers[name]["refused"]


def test_ramtorch_is_refused() -> None:
    # SimpleTuner's parser itself wants a GPU for it
    config = SimpleNamespace(
        model_type="lora", lora_type="lycoris", model_family="sd3", ramtorch=True
    )
    with pytest.raises(LokrWeightingError, match="use block swap"):
        check_config(config)


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_what_accelerate_was_launched_with_counts_too(kind: str, tmp_path: Path) -> None:
    template = tmp_path / "lycoris_config.json"
    template.write_text(json.dumps(LYCORIS))
    config = SimpleNamespace(
        model_type="lora", lora_type="lycoris", model_family="sd3", lycoris_config=str(template)
    )
    check_config(config, SimpleNamespace(distributed_type=DistributedType.MULTI_GPU))
    launched = SimpleNamespace(distributed_type=DistributedType[kind])
    with pytest.raises(LokrWeightingError, match=r"launched this run under .* in one process"):
        check_config(config, launched)


def test_a_controlnets_refusal_says_what_to_do() -> None:
    # SimpleTuner's parser itself wants a ControlNet's files
    for key in ("controlnet", "control"):
        config = SimpleNamespace(
            model_type="lora", lora_type="lycoris", model_family="flux", **{key: True}
        )
        with pytest.raises(LokrWeightingError, match="train it without this plugin"):
            check_config(config)


def test_a_preset_that_the_plan_replaces_is_named(tmp_path: Path) -> None:
    template = tmp_path / "lycoris_config.json"
    config = SimpleNamespace(lycoris_config=str(template))
    preset = {"target_module": ["Attention"], "module_algo_map": {"Attention": {"factor": 8}}}
    for written, said in (
        (preset, "apply_preset's target_module, module_algo_map is not used"),
        ({"exclude_name": ["*norm*"]}, None),
        (None, None),
    ):
        apply = {} if written is None else {"apply_preset": written}
        template.write_text(json.dumps(LYCORIS | apply))
        found = not_used(config)
        assert (found is None) == (said is None)
        assert said is None or said in str(found)


@pytest.mark.parametrize(
    ("model_type", "lora_type", "said"),
    [
        ("lora", "lycoris", "its own LyCORIS configuration"),
        ("lora", "standard", "its own LoRA (lora_type 'standard')"),
        ("full", "standard", "with model_type 'full' as configured"),
    ],
)
def test_what_a_run_trains_instead_is_called_what_it_is(
    model_type: str, lora_type: str, said: str
) -> None:
    config = SimpleNamespace(model_type=model_type, lora_type=lora_type)
    assert said in _what_is_trained(config)


def test_a_template_that_simpletuner_would_change_is_refused(
    answers: dict[str, dict[str, Any]],
) -> None:
    assert "multiplier: SimpleTuner cuts 0.5 to 0" in answers["half"]["refused"]
    assert "algo is 'loha'" in answers["loha"]["refused"]


def test_no_setting_is_needed(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["defaults"]["active"]
    assert answers["defaults"]["settings"]["budget"] is None


def test_settings_come_from_the_configuration_and_the_command_line(
    answers: dict[str, dict[str, Any]],
) -> None:
    given = answers["given"]["settings"]
    assert (given["budget"], given["samples"]) == ("120M", 200)
    assert (given["reuse"], given["on_error"]) == (False, "continue")
    from_command = answers["command line"]["settings"]
    assert (from_command["budget"], from_command["samples"]) == ("60M", 200)
    assert from_command["measure_only"] is True


def test_switched_off_nothing_is_refused(answers: dict[str, dict[str, Any]]) -> None:
    assert answers["off"]["active"] is False


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_a_complete_weighted_run(
    name: str, answers: dict[str, dict[str, Any]]
) -> None:
    answer = answers[f"example {name}"]
    assert answer["active"], answer
    assert answer["settings"]["budget"] == "uniform:8"
    assert Path(answer["lycoris_config"]).name == "lycoris_config.json"
    assert answer["steps"] == 2000
