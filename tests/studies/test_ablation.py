from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.studies.ablation import Ablation, Change
from lokr_weighting.studies.ablation_file import as_json, read_ablation, write_ablation
from lokr_weighting.studies.strategies import Strategy


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
