"""Templates that no plan could keep are refused before anything is measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.targets.lycoris.template import read_template
from tests.conftest import Run

GOOD = {
    "algo": "lokr",
    "multiplier": 1,
    "linear_dim": 10000,
    "linear_alpha": 1,
    "dora_wd": True,
    "apply_preset": {"target_module": ["Attention"], "module_algo_map": {"Attention": {"r": 1}}},
}


def test_what_the_plan_replaces_is_not_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "template.json"
    file.write_text(json.dumps(GOOD))
    assert read_template(file).written() == GOOD


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weight_decompose": True}, "weight_decompose has no effect: .*there it is dora_wd"),
        ({"full_matrx": True}, "did you mean full_matrix"),
        ({"algo": "loha"}, "algo is 'loha'"),
        ({"train_norm": True}, "train_norm"),
        ({"multiplier": "1.0"}, "multiplier = '1.0': a number is wanted here, without quotation"),
        ({"linear_dim": True}, "a number is wanted here"),
        ({"apply_preset": {"enable_conv": "false"}}, "enable_conv = 'false'"),
    ],
)
def test_what_no_plan_could_keep_is_refused_with_file_and_key(
    changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "template.json"
    file.write_text(json.dumps(GOOD | changed))
    with pytest.raises(LokrWeightingError, match=f"template.json: .*{said}"):
        read_template(file)


def test_a_plan_from_a_template_is_within_the_budget(
    cli: Callable[..., Run], tmp_path: Path
) -> None:
    (tmp_path / "template.json").write_text(json.dumps(GOOD))
    planned = cli(
        *("plan", "--reference", "sd3.5-large", "--budget", "120M", "--template", "template.json"),
        "--json",
    ).json
    read = cli("inspect", "peft_config.json", "--model", "sd3.5-large", "--json").json
    assert read["parameters"] == planned["parameters"]
    assert 119_000_000 < read["parameters"] <= 120_000_000
    assert f"({planned['parameters']:,} trainable parameters)" in planned["read_back"]
