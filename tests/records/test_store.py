import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, read_calibration
from lokr_weighting.errors import OutputError
from lokr_weighting.records import NotFinite, Record
from lokr_weighting.records.pairs import Pairs, line_of
from lokr_weighting.records.store import (
    RECORDS,
    SIMILARITY,
    SUMMARY,
    CalibrationStore,
)
from lokr_weighting.records.store import (
    SETTINGS as SETTINGS_FILE,
)
from lokr_weighting.records.summary import Summary

SETTINGS = {"model": "m", "weights": "w1", "data": "d1", "seed": 0, "bins": 10}


def record(sample: int) -> Record:
    return Record(
        timestep=0.5, hidden_states=[0.1, 0.2], encoder_hidden_states=[0.3], sample=sample
    )


def begun(folder: Path, samples: int = 1) -> None:
    """A calibration that was begun and left."""
    store = CalibrationStore(folder, SETTINGS)
    store.append([record(i) for i in range(samples)])
    store.close()


def finished(folder: Path, samples: int = 6) -> None:
    store = CalibrationStore(folder, SETTINGS)
    store.append([record(i) for i in range(samples)])
    store.finish(summary(samples))
    store.close()


def summary(samples: int) -> Summary:
    return Summary(
        settings=SETTINGS,
        blocks=("a", "b"),
        samples=samples,
        settled=True,
        image=[0.1, 0.2],
        image_error=None,
        text=[0.3, None],
        text_error=None,
        versions={},
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
    begun(tmp_path)
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
    first, late = CalibrationStore(tmp_path, SETTINGS), CalibrationStore(tmp_path, SETTINGS)
    first.append([record(0)])
    for refused in (lambda: CalibrationStore(tmp_path, SETTINGS), lambda: late.append([record(0)])):
        with pytest.raises(LokrWeightingError, match="another process is calibrating"):
            refused()
    first.close()
    CalibrationStore(tmp_path, SETTINGS).close()
    with pytest.raises(OutputError, match="was changed or removed while this ran"):
        late.append([record(0)])


def test_an_unfinished_calibration_is_not_planned_from(tmp_path: Path) -> None:
    with pytest.raises(LokrWeightingError, match="holds no calibration"):
        read_calibration(tmp_path)
    begun(tmp_path)
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
    begun(tmp_path)
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


def test_nothing_is_written_before_the_first_sample(tmp_path: Path) -> None:
    store = CalibrationStore(tmp_path / "c", SETTINGS)
    assert store.read() == []
    store.close()
    assert not (tmp_path / "c").exists()
    CalibrationStore(tmp_path / "c", SETTINGS | {"seed": 1}).append([record(0)])
    assert json.loads((tmp_path / "c" / SETTINGS_FILE).read_text())["seed"] == 1


@pytest.mark.parametrize(
    "left",
    [
        ".settings.json.x1y2",
        ".settings.json.abcd1234.lokr-weighting",
        ".lock",
        "settings.json",
    ],
)
def test_what_a_kill_before_the_first_sample_left_is_ours(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_text('{"model": "another"}' if left == SETTINGS_FILE else "")
    begun(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".lock", RECORDS, SETTINGS_FILE]
    assert json.loads((tmp_path / SETTINGS_FILE).read_text()) == SETTINGS


def cut(lines: list[bytes]) -> list[bytes]:
    return lines[:3]


def cut_in_a_line(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], lines[5][:9]]


def doubled(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[2:]]


def without_one(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], *lines[3:]]


def swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], *lines[2:]]


def gone(_: list[bytes]) -> list[bytes]:
    return []


CHANGES = [cut, cut_in_a_line, doubled, without_one, swapped, gone]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_finished_calibration_that_was_changed_is_refused(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], sealed: bool
) -> None:
    finished(tmp_path)
    assert len(read_calibration(tmp_path).records) == 6
    file = tmp_path / RECORDS
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    if not sealed:  # as earlier versions finished them
        written = json.loads((tmp_path / SUMMARY).read_text())
        del written["files"]
        (tmp_path / SUMMARY).write_text(json.dumps(written))
    if change is swapped and not sealed:
        assert len(read_calibration(tmp_path).records) == 6
        return
    with pytest.raises(LokrWeightingError, match=r"records\.jsonl.* measures again what is miss"):
        read_calibration(tmp_path)


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_command_measures_again_what_was_lost(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    finished(tmp_path)
    file = tmp_path / RECORDS
    whole = file.read_bytes()
    file.write_bytes(b"".join(change(whole.splitlines(keepends=True))))
    store = CalibrationStore(tmp_path, SETTINGS)
    left = store.read()
    assert [each.sample for each in left] == list(range(len(left)))
    store.append([record(i) for i in range(6)])
    store.finish(summary(6))
    assert file.read_bytes() == whole
    assert len(read_calibration(tmp_path).records) == 6


def test_a_number_changed_in_place_is_refused_and_not_measured_around(tmp_path: Path) -> None:
    finished(tmp_path)
    file = tmp_path / RECORDS
    file.write_bytes(file.read_bytes().replace(b"0.2", b"0.9", 1))
    with pytest.raises(LokrWeightingError, match="holds other bytes"):
        read_calibration(tmp_path)
    store = CalibrationStore(tmp_path, SETTINGS)
    with pytest.raises(LokrWeightingError, match="changed since the calibration was finished"):
        store.read()


def test_every_file_is_bound(tmp_path: Path) -> None:
    finished(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(SETTINGS | {"seed": 5}))
    with pytest.raises(LokrWeightingError, match=r"settings\.json has 1?\d* ?lines"):
        read_calibration(tmp_path)
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(SETTINGS, indent=2) + "\n")
    (tmp_path / "not_finite.jsonl").write_text('{"sample": 9, "block": "a"}\n')
    with pytest.raises(LokrWeightingError, match=r"not_finite\.jsonl was not there"):
        read_calibration(tmp_path)


def test_a_calibration_without_checksums_is_read_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    finished(tmp_path)
    written = json.loads((tmp_path / SUMMARY).read_text())
    del written["files"]
    (tmp_path / SUMMARY).write_text(json.dumps(written))
    assert len(read_calibration(tmp_path).records) == 6
    assert "by an earlier version, without checksums" in caplog.text


def test_a_calibration_begun_without_a_setting_goes_on_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path)
    store = CalibrationStore(tmp_path, SETTINGS | {"pipeline": "p"})
    assert len(store.read()) == 1
    assert "did not note 'pipeline'" in caplog.text
    store.close()
    with pytest.raises(LokrWeightingError, match="resolution = None"):
        CalibrationStore(tmp_path, SETTINGS | {"resolution": 64})


def test_adding_samples_makes_a_finished_calibration_an_unfinished_one(tmp_path: Path) -> None:
    finished(tmp_path)
    store = CalibrationStore(tmp_path, SETTINGS)
    store.read()
    store.append([record(6)])
    with pytest.raises(LokrWeightingError, match="run it again to resume it"):
        read_calibration(tmp_path)
    store.finish(summary(7))
    assert len(read_calibration(tmp_path).records) == 7


@pytest.mark.parametrize("harm", ["file", "folder"])
def test_files_removed_while_it_runs_are_noticed(tmp_path: Path, harm: str) -> None:
    store = CalibrationStore(tmp_path / "c", SETTINGS)
    store.append([record(0)])
    if harm == "file":
        (tmp_path / "c" / RECORDS).unlink()
    else:
        shutil.rmtree(tmp_path / "c")
    for do in (lambda: store.append([record(1)]), lambda: store.finish(summary(1))):
        with pytest.raises(OutputError, match=r"records\.jsonl: was changed or removed while"):
            do()
    store.close()
    again = CalibrationStore(tmp_path / "c", SETTINGS)
    assert again.read() == []


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path: Path) -> None:
    """The size of files is limited in a process of its own: what it writes meets EFBIG."""
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from lokr_weighting.errors import OutputError\n"
        "from tests.records.test_store import SETTINGS, CalibrationStore, record\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = CalibrationStore(Path(sys.argv[1]), SETTINGS)\n"
        "store.append([record(0)])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150, -1))\n"
        "try:\n    store.append([record(1), record(2)])\n"
        "except OutputError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert "File too large; what was measured before is kept" in done.stdout, done.stderr
    assert CalibrationStore(tmp_path, SETTINGS).read() == [record(0)]


def test_records_of_different_blocks_in_one_file_are_refused_by_line(tmp_path: Path) -> None:
    begun(tmp_path, 2)
    with (tmp_path / RECORDS).open("a") as file:
        file.write(
            Record(timestep=0.5, hidden_states=[0.1], encoder_hidden_states=[0.3], sample=2).line
        )
    with pytest.raises(LokrWeightingError, match=r"records\.jsonl:3: hidden_states has 1 blocks"):
        CalibrationStore(tmp_path, SETTINGS).read()


def test_a_calibration_is_shown_in_a_line(tmp_path: Path) -> None:
    finished(tmp_path)
    assert repr(read_calibration(tmp_path)) == (
        f"Calibration(model='m', 6 samples, 2 blocks, not_finite=0, folder='{tmp_path}')"
    )


def test_a_folder_inside_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LokrWeightingError, match="file is a file, so there can be no folder"):
        CalibrationStore(tmp_path / "file" / "c" / "d", SETTINGS)


def unsealed(folder: Path, **changes: object) -> None:
    """A finished calibration without checksums, as earlier versions wrote it, and changed."""
    finished(folder)
    data = json.loads((folder / SUMMARY).read_text())
    (folder / SUMMARY).write_text(json.dumps(data | {"files": None} | changes))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": 5}, "settings = .*: model = 5: a name is wanted"),
        ({"bins": 0}, "settings = .*: bins = 0: a whole number from 1 on is wanted"),
        ({"bins": True}, ".*bins = True: a whole number from 1 on is wanted"),
        ({"bins": "ten"}, ".*bins = 'ten': a whole number from 1 on is wanted"),
    ],
)
def test_settings_without_sense_are_refused(
    tmp_path: Path, settings: dict[str, object], says: str
) -> None:
    unsealed(tmp_path, settings=SETTINGS | settings)
    with pytest.raises(LokrWeightingError, match=f"calibration.json: {says}"):
        read_calibration(tmp_path)


def test_a_sample_that_is_there_twice_is_named(tmp_path: Path) -> None:
    unsealed(tmp_path)
    lines = (tmp_path / RECORDS).read_text().splitlines(keepends=True)
    (tmp_path / RECORDS).write_text("".join([*lines[:-1], lines[0]]))
    with pytest.raises(LokrWeightingError, match="sample 0 is there twice"):
        read_calibration(tmp_path)


def test_pairs_of_other_blocks_than_the_summary_names_are_refused(tmp_path: Path) -> None:
    unsealed(tmp_path)
    pairs = [line_of(i, Pairs(np.ones(6), np.ones(6))) for i in range(6)]
    (tmp_path / SIMILARITY).write_text("".join(pairs))
    with pytest.raises(LokrWeightingError, match=r"image has the pairs of 4 blocks, .* names 2"):
        read_calibration(tmp_path)
