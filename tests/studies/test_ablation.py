import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.studies.ablation import Ablation, Captions, Change, Obeyed, Refused
from lokr_weighting.studies.ablation_file import as_json, read_ablation, write_ablation
from lokr_weighting.studies.strategies import Strategy
from tests.studies.made_up_groups import grouped


def made_up(
    damage: list[float], image: list[float], text: list[float], path: str = "blocks"
) -> Ablation:
    """An ablation in which skipping block i of the list costs damage[i]."""
    nothing = np.zeros(10)
    changes = [
        Change(Strategy("skip", path, i, i), cost, 0.1, nothing, nothing)
        for i, cost in enumerate(damage)
    ]
    names = tuple(f"{path}.{i}" for i in range(len(damage)))
    return Ablation("made up", 20, names, 1.0, tuple(changes), np.array(image), np.array(text))


def test_a_file_reads_back_as_it_was(tmp_path: Path) -> None:
    written = made_up([1.0, 2.0, 0.5], [0.1, 0.2, np.nan], [0.3, np.nan, 0.4])
    write_ablation(tmp_path / "ablation.json", written)
    found = read_ablation(tmp_path / "ablation.json")
    assert as_json(found) == as_json(written)
    assert as_json(found)["image"] == [0.1, 0.2, None]
    np.testing.assert_array_equal(found.image, written.image)
    assert [each.strategy for each in found.changes] == [each.strategy for each in written.changes]
    (tmp_path / "other.json").write_text('{"loss": 1}')
    with pytest.raises(LokrWeightingError, match="key 'model' is missing"):
        read_ablation(tmp_path / "other.json")


EARLIER = {
    "schema_version": 1,
    "model": "m",
    "samples": 20,
    "blocks": ["a.0", "a.1"],
    "loss": 1.5,
    "image": [0.1, 0.2],
    "text": [0.1, None],
    "changes": [
        {
            "kind": "skip",
            "path": "a",
            "first": 1,
            "last": 1,
            "by": None,
            "change": 0.2,
            "error": 0.1,
            "by_bin": [0.1, 0.3],
            "bin_error": [0.1, 0.1],
        }
    ],
}
"""As version 0.2 wrote it."""


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    file = tmp_path / "ablation.json"
    file.write_text(json.dumps(EARLIER))
    found = read_ablation(file)
    assert found.damage["a.1"].change == 0.2
    assert found.damage["a.1"].by_sample is None
    assert found.samples_seen is None
    assert (found.spans, found.refused, found.captions) == ((), (), None)


def test_groups_samples_and_captions_read_back_as_they_were(tmp_path: Path) -> None:
    looped = Strategy("looped", "blocks", 3, 5, times=3)
    written = replace(
        grouped(),
        refused=(Refused(Strategy("random order", "blocks", 10, 11, seed=4), "no text"),),
        captions=Captions(0.97, Obeyed(9, 10), ((looped, Obeyed(3, 10)),)),
    )
    file = tmp_path / "ablation.json"
    write_ablation(file, written)
    found = read_ablation(file)
    assert as_json(found) == as_json(written)
    assert (found.spans, found.refused, found.captions) == (
        written.spans,
        written.refused,
        written.captions,
    )
    assert found.samples_seen is not None
    assert np.isnan(found.samples_seen.text[:, -1]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"spans": [{"path": "a", "stream": "text", "name": "x", "first": 0, "last": 9}]},
            "spans: a has 2 blocks, not 0 to 9",
        ),
        (
            {"spans": [{"path": "b", "stream": "text", "name": "x", "first": 0, "last": 0}]},
            "b has 0 blocks",
        ),
        ({"image": [0.1]}, "image has 1 blocks, blocks names 2"),
        (
            {"samples_seen": {"timesteps": [0.5], "losses": [], "image": [], "text": []}},
            r"losses has 0 samples, samples_seen.timesteps has 1",
        ),
        (
            {"samples_seen": {"timesteps": [1.5], "losses": [1], "image": [], "text": []}},
            "timesteps must lie in 0 to 1",
        ),
        (
            {"samples_seen": {"timesteps": [0.5], "losses": [1], "image": [[1]], "text": [[1]]}},
            "must have the same timestep bins, and 2 blocks",
        ),
        ({"schema_version": 3}, "schema_version = 3"),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "ablation.json"
    file.write_text(json.dumps(EARLIER | change))
    with pytest.raises(LokrWeightingError, match=message):
        read_ablation(file)
