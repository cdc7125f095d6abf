import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, read_records
from lokr_weighting.records.record import Record, Tokens, parse_record, stack_records

GOOD = {"timestep": 0.5, "hidden_states": [0.1, 0.2], "encoder_hidden_states": [0.3]}


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)]
)
def test_records_are_read_plain_and_compressed(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / f"records.jsonl{suffix}"
    file.write_bytes(pack(lines(GOOD, GOOD | {"timestep": 1.0, "note": "kept"})))
    records = read_records(file)
    assert records.timesteps.tolist() == [0.5, 1.0]
    assert records.image.tolist() == [[0.1, 0.2]] * 2
    assert records.text[:, 0].tolist() == [0.3] * 2
    assert np.isnan(records.text[:, 1]).all()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (b'{"timestep": 0.5, "hidden_sta', "JSON"),
        (lines(GOOD | {"timestep": float("nan")}), "timestep"),
        (lines(GOOD | {"timestep": 1.5}), "timestep = 1.5"),
        (lines(GOOD | {"hidden_states": [0.1, float("nan")]}), "hidden_states.1"),
        (lines(GOOD | {"hidden_states": [-0.1, 0.2]}), "hidden_states.0 = -0.1"),
        (lines(GOOD | {"encoder_hidden_states": [1.1]}), "encoder_hidden_states.0 = 1.1"),
        (lines(GOOD | {"hidden_states": [0.1]}), "hidden_states has 1 blocks"),
        (lines({"timestep": 0.5}), "key 'hidden_states' is missing"),
        (lines([1, 2]), "object"),
    ],
)
def test_a_bad_line_is_refused_with_file_and_line(
    tmp_path: Path, second: bytes, message: str
) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines(GOOD) + second)
    with pytest.raises(LokrWeightingError) as error:
        read_records(file)
    assert str(error.value).startswith(f"{file}:2: ")
    assert message in str(error.value)


def test_an_archive_cut_short_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl.gz"
    rng = np.random.default_rng(0)
    many = [GOOD | {"timestep": float(t)} for t in rng.uniform(size=500)]
    file.write_bytes(gzip.compress(lines(*many))[:-100])
    with pytest.raises(LokrWeightingError, match=r"cannot be read after line"):
        read_records(file)


def test_missing_and_empty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(LokrWeightingError, match=r"no\.jsonl: there is no such file"):
        read_records(tmp_path / "no.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(LokrWeightingError, match=r"empty\.jsonl: holds no records"):
        read_records(tmp_path / "empty.jsonl")


def test_the_last_real_token_is_read_beside_the_images_last(tmp_path: Path) -> None:
    record = GOOD | {
        "hidden_states_last": [0.5, 0.6],
        "encoder_hidden_states_last": [0.7],
        "encoder_hidden_states_last_real": [0.8],
    }
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines(record))
    found = read_records(file, "last-real")
    assert (found.image.tolist(), found.text[0, 0]) == ([[0.5, 0.6]], 0.8)
    assert read_records(file, "last").text[0, 0] == 0.7


def test_tokens_that_an_older_file_lacks_are_refused_by_name(tmp_path: Path) -> None:
    record = GOOD | {"hidden_states_last": [0.5, 0.6], "encoder_hidden_states_last": [0.7]}
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines(record))
    key = "encoder_hidden_states_last_real"
    with pytest.raises(LokrWeightingError, match=rf"jsonl:1: key '{key}' is missing"):
        read_records(file, "last-real")
    with pytest.raises(LokrWeightingError, match=rf"sample 3 has no key '{key}'"):
        stack_records([Record.model_validate(record | {"sample": 3})], "last-real")


@pytest.mark.parametrize(
    "key", ["hidden_states_last", "encoder_hidden_states_last", "encoder_hidden_states_last_real"]
)
def test_other_tokens_of_another_number_of_blocks_are_refused_by_line(
    tmp_path: Path, key: str
) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines(GOOD | {key: [0.5] * 9}))
    with pytest.raises(LokrWeightingError, match=rf"jsonl:1: {key} has 9 blocks"):
        read_records(file)


MIXED = {
    "timestep": 0.5,
    "hidden_states": [None, 0.2, 0.3, None],
    "encoder_hidden_states": [0.1, None, 0.4, 0.5],
    "hidden_states_last": [None, 0.6, 0.7, None],
    "encoder_hidden_states_last": [0.1, None, 0.4, 0.5],
}
"""Text alone, image alone, both, and text alone at the end."""


def test_blocks_of_one_stream_alone_are_null_wherever_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines(MIXED, MIXED | {"timestep": 0.75}))
    recorded: dict[Tokens, list[float]] = {"mean": [0.2, 0.3], "last": [0.6, 0.7]}
    for tokens, image in recorded.items():
        records = read_records(file, tokens)
        assert np.isnan(records.image).tolist() == [[True, False, False, True]] * 2
        assert np.isnan(records.text).tolist() == [[False, True, False, False]] * 2
        assert records.image[:, 1:3].tolist() == [image] * 2
    record = parse_record(lines(MIXED).strip(), "here")
    assert json.loads(record.line) == MIXED


def test_a_record_without_nulls_is_written_as_ever() -> None:
    record = parse_record(lines(GOOD | {"sample": 2}), "here")
    assert record.line == json.dumps(GOOD | {"sample": 2}) + "\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"encoder_hidden_states": [0.1, None, 0.4], "encoder_hidden_states_last": [0.1] * 3},
            "block 3 has a number in neither hidden_states nor encoder_hidden_states",
        ),
        (
            {"encoder_hidden_states_last": [None, 0.1, 0.4, 0.5]},
            "block 0 has a number in neither hidden_states_last nor encoder_hidden_states_last",
        ),
        (
            {"hidden_states": [0.1, 0.2, 0.3, None]},
            "hidden_states is null in other blocks than in the lines before it",
        ),
    ],
)
def test_nulls_that_leave_a_block_empty_or_move_are_refused_by_line(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines(MIXED, MIXED | change))
    with pytest.raises(LokrWeightingError, match=rf"jsonl:2: {message}"):
        read_records(file)


def test_text_of_more_blocks_than_the_image_is_refused_by_line(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines(GOOD | {"encoder_hidden_states": [0.5] * 9}))
    with pytest.raises(LokrWeightingError, match="jsonl:1: encoder_hidden_states has 9 blocks, hi"):
        read_records(file)


def test_more_records_than_memory_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kilobyte of such a file may be a gigabyte of records."""
    file = tmp_path / "records.jsonl.gz"
    file.write_bytes(gzip.compress(lines(*[GOOD] * 5000)))
    assert file.stat().st_size < 5000
    monkeypatch.setattr("lokr_weighting.records.record.MOST_BYTES", 4 << 20)
    with pytest.raises(LokrWeightingError, match=r"gz:\d+: more records than 4 MiB of memory hold"):
        read_records(file)
