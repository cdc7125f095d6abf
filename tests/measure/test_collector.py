import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, Recipe, Stop
from lokr_weighting.measure.collector import Collector
from lokr_weighting.measure.distances import Distances, measured_of
from lokr_weighting.records import NotFinite, Record


def distances(values: list[list[float]], has_text: list[bool] | None = None) -> Distances:
    image = np.array(values, dtype=np.float32)
    known = np.array(has_text or [True] * image.shape[1])
    text = np.where(known, image, np.nan).astype(np.float32)
    return Distances(image, text, image / 2, text / 2, known)


def collector(**options: object) -> Collector:
    return Collector(("a", "b"), (), {}, Recipe(**options))  # type: ignore[arg-type]


def test_judgements_come_at_growing_numbers_of_whole_rounds() -> None:
    stop = Stop(per_bin=8, most=400)
    checks = [stop.next_check(0, 10)]
    while checks[-1] < 400:
        checks.append(stop.next_check(checks[-1] + 1, 10))
    assert checks == [80, 100, 130, 170, 220, 280, 350, 400]
    assert stop.next_check(100, 10) == 100
    assert stop.next_check(101, 10) == 130
    assert Stop(samples=64).next_check(3, 10) == 64


@pytest.mark.parametrize("stop", [Stop(samples=19), Stop(most=10)])
def test_too_few_samples_for_the_bins_are_refused_before_anything_runs(stop: Stop) -> None:
    with pytest.raises(LokrWeightingError, match="10 timestep bins need at least 20"):
        Collector((), (), {}, Recipe(), stop=stop)


def test_a_forwards_samples_become_records_with_both_token_settings() -> None:
    found = measured_of(
        distances([[0.1, 0.2], [0.3, 0.4]], [True, False]), ("a", "b"), [0.25, 0.75], 4
    )
    assert all(isinstance(each, Record) for each in found)
    assert [each.sample for each in found] == [4, 5]
    record = found[1]
    assert isinstance(record, Record)
    assert (record.timestep, record.hidden_states) == (0.75, [0.3, 0.4])
    assert record.hidden_states_last == [0.15, 0.2]
    assert record.encoder_hidden_states == [0.3]


def test_records_keep_every_bit_of_a_float32() -> None:
    values = np.random.default_rng(0).uniform(size=(1, 500)).astype(np.float32)
    (record,) = measured_of(distances(values.tolist()), ("a",) * 500, [0.5], 0)
    assert isinstance(record, Record)
    again = Record.model_validate_json(record.line)
    assert (np.array(again.hidden_states, dtype=np.float32) == values[0]).all()


def test_a_block_between_others_without_text_is_null() -> None:
    (record,) = measured_of(
        distances([[0.1, 0.2, 0.3, 0.4]], [True, False, True, False]), "abcd", [0.5], 0
    )
    assert isinstance(record, Record)
    assert record.encoder_hidden_states == [0.1, None, 0.3]


def test_a_sample_that_is_not_finite_is_never_averaged_and_named_by_its_first_block() -> None:
    found = measured_of(distances([[0.1, np.nan], [0.1, 0.2]]), ("a", "b"), [0.5, 0.6], 0)
    assert found[0] == NotFinite(sample=0, block="b")
    assert isinstance(found[1], Record)


def test_a_block_that_fails_time_and_again_stops_the_run() -> None:
    some = collector()
    some.add([NotFinite(sample=i, block="b") for i in range(3)])
    with pytest.raises(LokrWeightingError, match=r"^b gives NaN or Inf in 4 of 4 samples"):
        some.add([NotFinite(sample=3, block="b")])


def test_a_rare_failure_is_counted_and_the_run_goes_on() -> None:
    some = collector()
    for i in range(100):
        broken = i % 20 == 19
        values = distances([[0.1, np.nan if broken else 0.2]])
        some.add(measured_of(values, ("a", "b"), [(i % 10 + 0.5) / 10], i))
    calibration = some.finish()
    assert calibration.not_finite_by_block == {"b": 5}
    assert len(calibration.records) == 95


def test_resuming_takes_the_samples_up_to_the_first_gap() -> None:
    some = collector()
    found = measured_of(distances([[0.1, 0.2]] * 5), ("a", "b"), [0.5] * 5, 0)
    some.resume([*found[:3], *found[4:]])
    assert [each.sample for each in some.measured] == [0, 1, 2]
