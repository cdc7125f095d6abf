from dataclasses import replace

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.studies.ablation import Captions, Obeyed
from lokr_weighting.studies.painters import rows_of
from lokr_weighting.studies.statements import STATEMENTS, Answer, answers_of
from lokr_weighting.studies.strategies import Strategy
from tests.studies.made_up_groups import PATH, grouped

BESIDE = {2, 3, 5, 6, 9, 10}  # the blocks at the groups' borders


def as_in_the_study(strategy: Strategy, timesteps: np.ndarray) -> np.ndarray:
    """A model of which all that the study says holds."""
    alone = strategy.first == strategy.last
    if strategy.kind == "skip" and alone:
        return np.full(len(timesteps), 3.0 if strategy.first in BESIDE else 0.2)
    if strategy.kind == "skip":
        # the first middle group at noisy timesteps, the second at clean ones
        own = timesteps if strategy.first == 3 else 1 - timesteps
        return 0.6 + 0.8 * own
    level = {
        "skip every second": 0.1,
        "repeat": 2.5,
        "parallel": 1.5,
        "reverse": 1.6,
        "looped": 1.7,
    }
    cost = level.get(strategy.kind, 1.2)
    return (
        cost * (1.5 - timesteps) if strategy.kind in ("looped", "reverse") else cost + 0 * timesteps
    )


def against_the_study(strategy: Strategy, timesteps: np.ndarray) -> np.ndarray:
    """The opposite in everything."""
    return 4 - as_in_the_study(strategy, timesteps)


def verdicts(answers: list[Answer]) -> list[str]:
    return [each.verdict for each in answers]


def test_where_all_holds_every_statement_agrees_and_the_other_way_round_disagrees() -> None:
    answers = answers_of(grouped(as_in_the_study))
    assert len(answers) == len(STATEMENTS) == 11
    assert verdicts(answers) == ["agrees"] * 11
    assert verdicts(answers_of(grouped(against_the_study))) == ["disagrees"] * 11


def test_where_nothing_differs_none_can_be_told_as_often_as_the_interval_says() -> None:
    answers = answers_of(grouped(noise=0.05))
    # the mildest and the worst of several are not 0 where all are alike: one is below by chance
    chosen = [each for each in answers if "mildest" not in each.measured + each.statement]
    chosen = [each for each in chosen if "worst other" not in each.measured]
    assert verdicts(chosen).count("cannot tell") >= len(chosen) - 1


def test_the_number_is_the_difference_in_shares_of_the_loss() -> None:
    ablation = grouped(as_in_the_study)
    doubled = replace(ablation.samples_seen, losses=2 * ablation.samples_seen.losses)  # type: ignore
    answers = {each.statement: each for each in answers_of(ablation)}
    halved = answers_of(replace(ablation, samples_seen=doubled))
    for each in halved:
        assert each.value == pytest.approx(answers[each.statement].value / 2)  # type: ignore
    rows = {(row.span.name, row.name): row.change for row in rows_of(ablation)}
    found = next(each for each in answers.values() if each.statement == "Reversing is catastrophic")
    expected = np.mean(
        [rows[name, "reverse"] - rows[name, "skip all"] for name in ("middle 1", "middle 2")]
    )
    assert found.value == pytest.approx(expected)
    before = next(
        each for each in answers.values() if each.statement.startswith("The block before")
    )
    alone = {
        each.strategy.first: each.change
        for each in ablation.changes
        if each.strategy.kind == "skip" and each.strategy.first == each.strategy.last
    }
    inside = np.mean([alone[i] for i in (1, 4, 7, 8)])
    assert before.value == pytest.approx(np.mean([alone[i] for i in (2, 5, 9)]) - inside)


def test_its_interval_is_that_of_the_paired_difference() -> None:
    """A sample that is hard for both strategies is none for their difference."""
    hard = np.random.default_rng(1).normal(0, 5, 40)

    def cost(strategy: Strategy, timesteps: np.ndarray) -> np.ndarray:
        return hard + (1.0 if strategy.kind == "reverse" else 0.5) + 0 * timesteps

    found = next(
        each for each in answers_of(grouped(cost)) if each.statement == "Reversing is catastrophic"
    )
    assert (found.low, found.value, found.high) == pytest.approx((0.5, 0.5, 0.5), abs=0.02)


def test_what_is_not_there_cannot_be_told() -> None:
    ablation = grouped(as_in_the_study)
    (first,) = (each for each in ablation.spans if each.name == "first")
    answers = {each.statement: each for each in answers_of(replace(ablation, spans=(first,)))}
    two_middles = answers["The earlier middle group makes layout, the later one detail"]
    assert two_middles.verdict == "cannot tell"
    assert two_middles.missing == "there are no such blocks here to compare"
    # with no middle group, all of two blocks or more are asked
    assert answers["Reversing is catastrophic"].verdict == "agrees"


def test_images_that_were_read_say_whether_captions_are_obeyed() -> None:
    ablation = grouped(as_in_the_study)
    looped = [
        each.strategy
        for each in ablation.changes
        if each.strategy.kind == "looped" and each.strategy.first in (3, 6)
    ]
    by = tuple((each, Obeyed(18, 20)) for each in looped)
    reverse = Strategy("reverse", PATH, 3, 5)
    captions = Captions(0.97, Obeyed(20, 20), (*by, (reverse, Obeyed(1, 20))))
    answers = {each.statement: each for each in answers_of(replace(ablation, captions=captions))}
    spared = answers["Looped parallel: captions are still obeyed"]
    assert (spared.unit, spared.verdict) == ("images", "agrees")
    assert spared.value == pytest.approx(36 / 40 - 0.5)
    assert answers["Reverse: captions are still obeyed"].verdict == "disagrees"


def test_an_ablation_without_groups_or_samples_is_refused() -> None:
    ablation = grouped()
    with pytest.raises(LokrWeightingError, match="is of no groups; run it with --groups"):
        answers_of(replace(ablation, spans=()))
    with pytest.raises(LokrWeightingError, match="does not hold single samples"):
        answers_of(replace(ablation, samples_seen=None))
