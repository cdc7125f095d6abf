"""Files that no reader should believe: too deep, too long, damaged, of the wrong kind."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.hostile import refused_in_one_line
from tests.conftest import Run
from tests.inputs import write_records

Cli = Callable[..., Run]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["heatmaps", "thin.jsonl"], "thin.jsonl:3: hidden_states has 37 blocks, the lines before"),
        (["heatmaps", "nulls.jsonl"], "nulls.jsonl:2: encoder_hidden_states is null in other"),
        (["heatmaps", "deep.jsonl"], "deep.jsonl:1: the whole: invalid JSON: recursion limit"),
        (["heatmaps", "digits.jsonl"], "digits.jsonl:1: the whole: invalid JSON: number out"),
        (["heatmaps", "cut.jsonl.gz"], "cut.jsonl.gz: cannot be read after line"),
        (["heatmaps", "harmed.jsonl.gz"], "harmed.jsonl.gz: cannot be read after line"),
        (["heatmaps", "none.jsonl.bz2"], "none.jsonl.bz2: cannot be read after line 0"),
        (["heatmaps", "folder"], "folder: this is a folder; a records file is wanted"),
        (["plan", "--calibration", "good.jsonl"], "good.jsonl: holds no calibration"),
        (["plan", "--heatmaps", "folder", "--model", "sd3.5-large"], "folder: this is a folder"),
        (["plan", "--heatmaps", "deep.json", "--model", "sd3.5-large"], "64 levels deep"),
        (["verify", "deep.json", "--model", "sd3.5-large"], "64 levels deep"),
        (["verify", "digits.json", "--model", "sd3.5-large"], "a number of 5000 digits"),
        (["plan", "--records", "n" * 300, "--model", "sd3.5-large"], "File name too long"),
        (["heatmaps", "good.jsonl", "--output", "n" * 300], "File name too long"),
        (["report", "--reference", "sd3.5-large", "--plan", "digits.json"], "of 5000 digits"),
    ],
)
def test_what_no_reader_can_read_is_one_line_that_names_it(
    cli: Cli, tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_records(tmp_path / "good.jsonl")
    lines = (tmp_path / "good.jsonl").read_bytes().splitlines(keepends=True)
    records = [json.loads(line) for line in lines[:3]]
    records[2]["hidden_states"].pop()
    (tmp_path / "thin.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    records[1]["encoder_hidden_states"][4] = None
    (tmp_path / "nulls.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    deep, digits = "[" * 3000 + "]" * 3000, "1" * 5000
    (tmp_path / "deep.jsonl").write_text(f'{{"x": {deep}}}\n')
    (tmp_path / "digits.jsonl").write_text(f'{{"timestep": {digits}}}\n')
    (tmp_path / "deep.json").write_text(f'{{"x": {deep}}}')
    (tmp_path / "digits.json").write_text(f'{{"linear_dim": {digits}}}')
    packed = gzip.compress(b"".join(lines))
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    harmed = bytearray(packed)
    harmed[40:400] = b"\xff" * 360
    (tmp_path / "harmed.jsonl.gz").write_bytes(harmed)
    (tmp_path / "none.jsonl.bz2").write_bytes(b"BZh9 no")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.iterdir())
    run = cli(*arguments)
    refused_in_one_line(run, message)
    assert sorted(tmp_path.iterdir()) == before
