import numpy as np
import pytest

from lokr_weighting import Calibration, Recipe, Stop
from lokr_weighting.measure import stop as room
from lokr_weighting.measure.stop import judgements
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.records import Record


def test_judgements_come_at_growing_numbers_of_whole_rounds() -> None:
    stop = Stop(per_bin=8, most=400)
    checks = [stop.next_check(0, 10)]
    while checks[-1] < 400:
        checks.append(stop.next_check(checks[-1] + 1, 10))
    assert checks == [80, 100, 130, 170, 220, 280, 350, 400]
    assert stop.next_check(100, 10) == 100
    assert stop.next_check(101, 10) == 130
    assert Stop(samples=64).next_check(3, 10) == 64


def calibration(samples: int) -> Calibration:
    """Made-up samples of the digits model."""
    rng = np.random.default_rng(0)
    level = rng.uniform(0.05, 0.4, 12)
    records = (
        Record(
            timestep=(i % 10 + 0.5) / 10,
            hidden_states=(level + rng.uniform(0, 0.05, 12)).tolist(),
            encoder_hidden_states=(level[:-1] + rng.uniform(0, 0.05, 11)).tolist(),
            sample=i,
        )
        for i in range(samples)
    )
    return Calibration({"bins": 10}, ("b",) * 12, tuple(records))


@pytest.mark.parametrize(("samples", "at"), [(79, []), (100, [80, 100]), (160, [80, 100, 130])])
def test_a_calibration_is_judged_where_the_stop_rule_would_have(
    samples: int, at: list[int]
) -> None:
    judged = judgements(calibration(samples), load_skeleton("digits"), Recipe())
    assert [each.samples for each in judged] == at


def test_a_judgement_that_was_made_already_is_not_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, recipe = load_skeleton("digits"), Recipe()
    *_, last = judgements(calibration(100), model, recipe)
    made: list[int] = []
    judge = room.judge

    def counted(records, *arguments, **options):  # type: ignore[no-untyped-def]
        made.append(len(records.timesteps))
        return judge(records, *arguments, **options)

    monkeypatch.setattr(room, "judge", counted)
    again = judgements(calibration(100), model, recipe, last=last)
    assert made == [80]
    assert again[-1] is last
    # one of fewer samples does not stand for all of them
    judgements(calibration(130), model, recipe, last=last)
    assert made == [80, 80, 100, 130]
