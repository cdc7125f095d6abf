"""Adapters to convert and inspect: headers that lie, endless patterns, adapters without number."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lokr_weighting import LokrWeightingError
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.targets.conversion import lycoris_to_peft
from lokr_weighting.targets.peft.layout import read_configs, saved_names
from tests.attacks.hostile import DEEP, DIGITS, change_json, contents, refused_in_one_line
from tests.conftest import Run

Cli = Callable[..., Run]
NAME = "lycoris_transformer_blocks_0_attn_to_q"
W1, W2 = torch.ones(4, 4), torch.ones(16, 16)


def with_header(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def tensor(dtype: str, shape: list[int], offsets: list[int]) -> bytes:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


LIES = [
    b"",
    b"\xff" * 8,
    struct.pack("<Q", 1 << 62) + b"{}",
    with_header(b"[]"),
    with_header(b"{" * 3000),
    with_header(DEEP.encode()),
    with_header(b"\xff\xff"),
    with_header(tensor("F32", [10**9, 10**9], [0, 4]), b"0000"),
    with_header(tensor("F32", [1], [0, 10**15]), b"0000"),
    with_header(tensor("F32", [1], [8, 4]), b"0000"),
    with_header(tensor("F33", [1], [0, 4]), b"0000"),
    with_header(tensor("F32", [-1], [0, 4]), b"0000"),
    with_header(b'{"a":{"dtype":"F32","shape":[' + DIGITS.encode() + b"]}}"),
]


@pytest.mark.parametrize("data", LIES)
def test_a_header_that_lies_is_refused_and_nothing_is_written(
    cli: Cli, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    run = cli("convert", "a.safetensors", "--model", "digits", "--output", "out")
    refused_in_one_line(run, "a.safetensors: ")
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("data", LIES)
def test_inspect_refuses_a_header_that_lies(cli: Cli, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    run = cli("inspect", "a.safetensors", "--model", "digits", "--output", "did.png")
    refused_in_one_line(run, "a.safetensors: ")
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize(
    ("alpha", "says"),
    [
        (torch.tensor(1 + 1j), "is no finite number"),
        (torch.tensor(True), "is no finite number"),
        (torch.tensor(float("inf")), "is no finite number"),
    ],
)
def test_an_alpha_that_is_no_number_is_refused(
    cli: Cli, tmp_path: Path, alpha: torch.Tensor, says: str
) -> None:
    tensors = {"lokr_w1": W1, "lokr_w2": W2, "alpha": alpha}
    save_file(
        {f"{NAME}.{kind}": each for kind, each in tensors.items()}, tmp_path / "a.safetensors"
    )
    run = cli("convert", "a.safetensors", "--model", "digits", "--output", "out")
    refused_in_one_line(run, says)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """A folder with one good adapter."""
    tensors = {f"{NAME}.lokr_w1": W1, f"{NAME}.lokr_w2": W2}
    save_file(tensors, tmp_path / "a.safetensors")
    model = load_skeleton("digits").to_module()
    lycoris_to_peft(tmp_path / "a.safetensors", model, tmp_path / "adapters")
    return tmp_path / "adapters"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"alpha_pattern": {"(([a-z._0-9]+)+)+!": 1}}, "only the names of modules are read"),
        ({"rank_pattern": {"(": 1}}, "only the names of modules are read"),
        ({"rank_pattern": ["a"]}, "rank_pattern: an object is wanted"),
        ({"alpha": "one"}, "alpha = 'one': a number is wanted"),
        ({"alpha": 10**99}, "alpha = 10000"),
        ({"alpha": True}, "alpha = True: a number is wanted"),
        ({"r": 0}, "r = 0: a rank is at least 1"),
        ({"r": 1.5}, "r = 1.5: a number is wanted"),
        ({"rank_pattern": {"a": -1}}, "a = -1: a rank is at least 1"),
        ({"peft_type": "LORA"}, "is of no LoKr adapter"),
        ({"peft_type": "NONE"}, "is none that peft reads"),
        ({"peft_type": []}, "is none that peft reads"),
    ],
)
def test_a_configuration_that_peft_would_believe_is_refused(
    cli: Cli, adapters: Path, changes: dict[str, Any], says: str
) -> None:
    change_json(adapters / "lokr_1of1" / "adapter_config.json", **changes)
    before = contents(adapters.parent)
    run = cli("convert", adapters, "--output", "out.safetensors")
    refused_in_one_line(run, "lokr_1of1/adapter_config.json: ")
    assert says in run.err
    assert contents(adapters.parent) == before


@pytest.mark.parametrize("text", [f'{{"r": {DEEP}}}', f'{{"r": {DIGITS}}}', '{"alpha": NaN}'])
def test_a_configuration_that_is_no_sensible_json_is_refused(adapters: Path, text: str) -> None:
    (adapters / "lokr_1of1" / "adapter_config.json").write_text(text)
    with pytest.raises(
        LokrWeightingError, match=r"adapter_config.json: (JSON nested|holds a number|alpha = nan)"
    ):
        read_configs(adapters)


def test_a_name_that_asks_for_adapters_without_number_is_none(adapters: Path) -> None:
    (adapters / "lokr_1of1").rename(adapters / "lokr_1of999999999999")
    with pytest.raises(LokrWeightingError, match="holds no weighted adapters"):
        saved_names(adapters)
