"""Configurations, budgets and settings that would take for ever, all memory, or make no sense."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.targets.lycoris import Preset, patterns
from lokr_weighting.targets.lycoris.patterns import check_patterns
from tests.attacks.hostile import DEEP, DIGITS, contents, refused_in_one_line
from tests.conftest import Run
from tests.inputs import write_records

Cli = Callable[..., Run]
PLAN = ("plan", "--reference", "sd3.5-large")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*PLAN, "--budget", "9" * 400], "budget '99999"),
        ([*PLAN, "--budget", f"{'9' * 400}MiB"], "budget '99999"),
        ([*PLAN, "--budget", f"uniform:{'9' * 400}"], "budget 'uniform:99999"),
        ([*PLAN, "--set", f"max_factor={DIGITS}"], "--set: max_factor = '11111"),
        ([*PLAN, "--set", f"max_factor={DEEP}"], "--set: max_factor = '[[[[["),
        ([*PLAN, "--set", f"max_factor={10**99}"], "--set: max_factor = 10000"),
        ([*PLAN, "--set", "image_weight=1e308"], "--set: image_weight = 1e+308"),
        ([*PLAN, "--set", "clip_percentile=NaN"], "--set: clip_percentile = nan"),
        ([*PLAN, "--set", "strength=Infinity"], "--set: strength = inf"),
        ([*PLAN, "--set", "critical=[99]"], "critical = [99]: there is no block 99"),
        (["heatmaps", "good.jsonl", "--bins", str(10**9)], "do not fill 1000000000 bins"),
    ],
)
def test_numbers_without_sense_are_refused_by_name(
    cli: Cli, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_records(tmp_path / "good.jsonl")
    before = contents(tmp_path)
    refused_in_one_line(cli(*arguments), message)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("preset", "message"),
    [
        ({"target_name": ["blocks.("]}, "apply_preset.target_name: 'blocks.(' is no regular"),
        ({"name_algo_map": {"(([a-z._0-9]+)+)+!": {}}}, "takes more than 0.5 seconds"),
        ({"exclude_name": [".*.*.*.*.*.*.*.*.*!"]}, "takes more than 0.5 seconds"),
        ({"lora_prefix": "n" * 100_000}, "apply_preset.lora_prefix = 'nnnn"),
        ({"target_name": [str(n) for n in range(20_001)]}, "has 20,001 patterns"),
    ],
)
@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_patterns_that_never_end_are_stopped(
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    preset: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.5)
    (tmp_path / "config.json").write_text(json.dumps({"algo": "lokr", "apply_preset": preset}))
    refused_in_one_line(cli(command, "config.json", "--model", "digits"), message)


def test_too_many_patterns_are_refused_where_each_alone_ends() -> None:
    many = Preset(use_fnmatch=True, target_name=[f"*{n}*" for n in range(20_001)])
    with pytest.raises(LokrWeightingError, match="has 20,001 patterns; at most 20,000 are tried"):
        check_patterns(many, ["x"])


def test_a_device_that_there_is_not_is_refused_before_anything_is_loaded(
    cli: Cli, images: Path, tmp_path: Path
) -> None:
    job = ("calibrate", "--model", "digits", "--data", images, "--output", "c")
    refused_in_one_line(cli(*job, "--device", "foo"), "device = 'foo': cannot be used here")
    assert contents(tmp_path) == {}
