"""Which data sets are measured, and how much: SimpleTuner's own choice of them is what counts."""

from typing import Any

import pytest
from lokr_weighting_simpletuner.datasets import DataSet, datasets_table

from lokr_weighting.show.console import as_text

pytestmark = pytest.mark.slow


def share(found: dict[str, Any], name: str) -> float:
    return found[name][1]


def test_over_whole_epochs_a_share_is_images_times_passes(rooms: dict[str, Any]) -> None:
    # 4 images in 4 passes and 12 images in one, in batches of two: 8 and 6 batches an epoch
    assert share(rooms["two"], "small") == pytest.approx(8 / 14, abs=1e-3)
    assert share(rooms["two"], "big") == pytest.approx(6 / 14, abs=1e-3)


def test_within_an_epoch_a_share_follows_the_probability(rooms: dict[str, Any]) -> None:
    # a run of 40 steps, counted often enough to tell
    assert share(rooms["weights"], "b") == pytest.approx(0.2, abs=0.05)


def test_a_later_data_set_counts_from_its_step_on(rooms: dict[str, Any]) -> None:
    # 200 batches alone, and half of the other 200
    assert share(rooms["schedule"], "now") == pytest.approx(0.75, abs=0.05)
    assert share(rooms["schedule"], "later") == pytest.approx(0.25, abs=0.05)
    assert rooms["schedule"]["never"] == [9, 0.0, "the run never comes to it"]


def test_regularisation_is_left_out_and_it_is_said(rooms: dict[str, Any]) -> None:
    assert share(rooms["regularisation"], "mine") == 1
    assert share(rooms["regularisation"], "others") == 0
    assert "keeps the model as it is" in rooms["regularisation"]["others"][2]
    assert "no data to measure (others: regularisation" in rooms["regularisation alone"]["refused"]


def test_evaluation_data_is_no_training_data(rooms: dict[str, Any]) -> None:
    assert rooms["evaluation"] == {"small": [4, 1.0, None]}


def test_what_cannot_be_measured_is_refused_by_name(rooms: dict[str, Any]) -> None:
    assert "data set 'words' has captions and no images" in rooms["captions"]["refused"]
    assert "training could not begin: No active datasets" in rooms["none yet"]["refused"]


def test_the_table_says_how_many_samples_each_data_set_gave() -> None:
    datasets = [DataSet("a", 30, 0.75), DataSet("b", 10, 0.25), DataSet("c", 99, 0, "a reason")]
    lines = as_text(datasets_table(datasets, 4000, 1)).splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.split()[:1] and "%" in line}
    given = {name: int(row[3].replace(",", "")) for name, row in rows.items()}
    assert sum(given.values()) == 4000
    assert abs(given["a"] - 3000) < 110  # four standard deviations
    assert given["c"] == 0
    assert "left out (a reason)" in "\n".join(lines)
