from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, Recipe, Stop
from lokr_weighting.measure import collector as collector_room
from lokr_weighting.measure.collector import Collector
from lokr_weighting.measure.distances import measured_of
from lokr_weighting.records import NotFinite
from lokr_weighting.records.contents import read_summary
from lokr_weighting.records.reading import read_calibration
from tests.measure.test_distances import distances


def collector(**options: object) -> Collector:
    return Collector(("a", "b"), (), {}, Recipe(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("stop", [Stop(samples=19), Stop(most=10)])
def test_too_few_samples_for_the_bins_are_refused_before_anything_runs(stop: Stop) -> None:
    with pytest.raises(LokrWeightingError, match="10 timestep bins need at least 20"):
        Collector((), (), {}, Recipe(), stop=stop)


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


def test_a_plan_is_judged_once_at_each_number_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    judge = collector_room.judge

    def counted(records, *arguments, **options):  # type: ignore[no-untyped-def]
        made.append(len(records.timesteps))
        return judge(records, *arguments, **options)

    monkeypatch.setattr(collector_room, "judge", counted)
    some = Collector(("a", "b"), (), {}, Recipe(), stop=Stop(samples=20))
    assert not some.judge_if_due()
    timesteps = [(i % 10 + 0.5) / 10 for i in range(20)]
    some.add(measured_of(distances([[0.1, 0.2]] * 20), ("a", "b"), timesteps, 0))
    assert some.judge_if_due()
    assert some.judge_if_due()
    assert made == [20]


def test_finishing_leaves_the_collector_as_it_was() -> None:
    some = collector(bins=1)
    found = measured_of(distances([[0.1, 0.2]] * 5), ("a", "b"), [0.5] * 5, 0)
    some.resume([*found[:3], *found[4:]])
    assert len(some.finish().records) == len(some.finish().records) == 4
    assert some.count == 3


def test_a_calibration_with_blocks_of_one_stream_alone_is_kept_and_read_back(
    tmp_path: Path,
) -> None:
    names = ("text.0", "image.0", "both.0", "both.1")
    has_image, has_text = [False, True, True, True], [True, False, True, True]
    some = Collector(names, (), {"bins": 10}, Recipe())
    some.open(tmp_path / "c")
    rng = np.random.default_rng(0)
    for i in range(40):
        values = distances(rng.uniform(0.1, 0.3, (1, 4)).tolist(), has_text, has_image)
        some.add(measured_of(values, names, [(i % 10 + 0.5) / 10], i))
    made = some.finish()
    some.close()
    found = read_calibration(tmp_path / "c")
    assert found.records == made.records
    heatmaps = found.heatmaps()
    assert heatmaps.has_image.tolist() == has_image
    assert heatmaps.has_text.tolist() == has_text
    summary = read_summary(tmp_path / "c")
    for stream, has in (("image", has_image), ("text", has_text)):
        for numbers in (getattr(summary, stream), getattr(summary, f"{stream}_error")):
            assert [number is not None for number in numbers] == has
    again = Collector(names, (), {"bins": 10}, Recipe())
    assert again.open(tmp_path / "c") == list(made.records)
    again.close()
