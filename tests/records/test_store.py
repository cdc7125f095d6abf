import json
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, read_calibration
from lokr_weighting.records import NotFinite, Record
from lokr_weighting.records.pairs import Pairs
from lokr_weighting.records.store import RECORDS, SIMILARITY, CalibrationStore

SETTINGS = {"model": "m", "weights": "w1", "data": "d1", "seed": 0, "bins": 10}


def record(sample: int) -> Record:
    return Record(
        timestep=0.5, hidden_states=[0.1, 0.2], encoder_hidden_states=[0.3], sample=sample
    )


def test_samples_are_read_back_in_order(tmp_path: Path) -> None:
    store = CalibrationStore(tmp_path / "c", SETTINGS)
    store.append([record(0), NotFinite(sample=1, block="b"), record(2)])
    store.close()
    again = CalibrationStore(tmp_path / "c", SETTINGS)
    assert again.read() == [record(0), NotFinite(sample=1, block="b"), record(2)]


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_a_last_line_cut_short_is_measured_again(tmp_path: Path, cut: int) -> None:
    store = CalibrationStore(tmp_path, SETTINGS)
    store.append([record(0), record(1)])
    file = tmp_path / RECORDS
    whole = file.read_bytes()
    file.write_bytes(whole[:-cut])
    assert store.read() == [record(0)]
    store.append([record(1)])
    assert file.read_bytes() == whole


@pytest.mark.parametrize("key", sorted(SETTINGS))
def test_another_calibration_is_refused_and_the_difference_named(tmp_path: Path, key: str) -> None:
    CalibrationStore(tmp_path, SETTINGS).close()
    with pytest.raises(LokrWeightingError) as error:
        CalibrationStore(tmp_path, SETTINGS | {key: "other"})
    assert f"a calibration with {key} = {SETTINGS[key]!r}, this one has 'other'" in str(error.value)


def test_a_folder_of_the_users_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("mine")
    with pytest.raises(LokrWeightingError, match="holds no calibration"):
        CalibrationStore(tmp_path, SETTINGS)
    assert [file.name for file in tmp_path.iterdir()] == ["holiday.jpg"]
    with pytest.raises(LokrWeightingError, match="is a file"):
        CalibrationStore(tmp_path / "holiday.jpg", SETTINGS)


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path) -> None:
    first = CalibrationStore(tmp_path, SETTINGS)
    with pytest.raises(LokrWeightingError, match="another process is calibrating"):
        CalibrationStore(tmp_path, SETTINGS)
    first.close()
    CalibrationStore(tmp_path, SETTINGS).close()


def test_an_unfinished_calibration_is_not_planned_from(tmp_path: Path) -> None:
    with pytest.raises(LokrWeightingError, match="holds no calibration"):
        read_calibration(tmp_path)
    CalibrationStore(tmp_path, SETTINGS).close()
    with pytest.raises(LokrWeightingError, match="run it again to resume it"):
        read_calibration(tmp_path)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    store = CalibrationStore(tmp_path, SETTINGS)
    store.append([record(0)])
    with (tmp_path / RECORDS).open("a") as file:
        file.write(json.dumps({"timestep": 2}) + "\n")
    with pytest.raises(LokrWeightingError, match=r"records\.jsonl:2: timestep = 2"):
        store.read()


def test_a_folder_that_was_refused_is_free_for_others(tmp_path: Path) -> None:
    CalibrationStore(tmp_path, SETTINGS).close()
    with pytest.raises(LokrWeightingError) as error:
        CalibrationStore(tmp_path, SETTINGS | {"seed": 1})
    CalibrationStore(tmp_path, SETTINGS).close()  # while the error is still held
    assert "seed" in str(error.value)


def test_pairs_of_a_sample_whose_record_was_lost_are_not_written_twice(tmp_path: Path) -> None:
    """Killed between the two files: similarity.jsonl is one line ahead of records.jsonl."""
    pairs = Pairs(np.array([0.5]), np.array([0.25]))
    first, second = (record(i).with_pairs(pairs) for i in range(2))
    store = CalibrationStore(tmp_path, SETTINGS)
    store.append([first, second])
    whole = {name: (tmp_path / name).read_bytes() for name in (RECORDS, SIMILARITY)}
    lines = whole[RECORDS].splitlines(keepends=True)
    (tmp_path / RECORDS).write_bytes(lines[0] + lines[1][:9])
    assert [each.sample for each in store.read()] == [0]
    store.append([second])
    assert {name: (tmp_path / name).read_bytes() for name in (RECORDS, SIMILARITY)} == whole
