"""A calibration in memory becomes a folder that reads back the same."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import Calibration, LokrWeightingError, read_calibration, write_calibration
from lokr_weighting.records.pairs import Pairs
from lokr_weighting.records.record import NotFinite, Record
from tests.plan.test_gradient import GAINS


def calibration(samples: int = 40) -> Calibration:
    rng = np.random.default_rng(0)
    records = []
    for number in range(samples):
        image, text = rng.random((2, 12)).round(3).tolist()
        record = Record(
            timestep=(number % 10 + 0.5) / 10,
            hidden_states=image,
            encoder_hidden_states=text,
            hidden_states_last=image,
            encoder_hidden_states_last=text,
            encoder_hidden_states_last_real=text,
            sample=number,
        )
        pairs = rng.random((2, 66)).round(5)
        records.append(record.with_pairs(Pairs(pairs[0], pairs[1])))
    blocks = tuple(f"transformer_blocks.{i}" for i in range(12))
    lost = records.pop(3)
    return Calibration(
        {"model": "SD3Transformer2DModel", "seed": 0, "bins": 10},
        blocks,
        tuple(records),
        (NotFinite(sample=lost.sample or 0, block=blocks[2]),),
        versions={"torch": "2.13.0"},
        gains=GAINS,
    )


def test_it_reads_back_the_same(tmp_path: Path) -> None:
    written = calibration()
    folder = write_calibration(tmp_path / "c", written)
    found = read_calibration(folder)
    assert [each.line for each in found.records] == [each.line for each in written.records]
    for own, other in zip(found.records, written.records, strict=True):
        assert own.pairs is not None
        assert other.pairs is not None
        np.testing.assert_allclose(own.pairs.image, other.pairs.image, atol=1e-5)
    assert found.not_finite == written.not_finite
    assert dict(found.settings) == dict(written.settings)
    assert found.versions == written.versions
    assert found.gains == written.gains
    np.testing.assert_array_equal(found.heatmaps().image, written.heatmaps().image)


def test_written_twice_it_is_the_same_and_another_is_refused(tmp_path: Path) -> None:
    write_calibration(tmp_path / "c", calibration())
    before = {file.name: file.read_bytes() for file in (tmp_path / "c").iterdir()}
    write_calibration(tmp_path / "c", calibration())
    assert {file.name: file.read_bytes() for file in (tmp_path / "c").iterdir()} == before
    other = dataclasses.replace(calibration(), settings={"model": "other", "seed": 1, "bins": 10})
    with pytest.raises(LokrWeightingError, match="holds a calibration with model = "):
        write_calibration(tmp_path / "c", other)
    assert {file.name: file.read_bytes() for file in (tmp_path / "c").iterdir()} == before


def test_a_calibration_without_samples_is_not_written(tmp_path: Path) -> None:
    empty = dataclasses.replace(calibration(), records=(), not_finite=())
    with pytest.raises(LokrWeightingError, match="this calibration has no samples to write"):
        write_calibration(tmp_path / "c", empty)
    assert not (tmp_path / "c").exists()
