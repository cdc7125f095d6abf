from dataclasses import replace

import numpy as np
import pytest

from lokr_weighting.studies.ablation import Refused, Span
from lokr_weighting.studies.painters import (
    BEFORE,
    BEHIND,
    ONE,
    REPEAT_ANY,
    REPEAT_MIDDLE,
    ROWS,
    drawn_strategies,
    group_strategies,
    rows_of,
    spans_of,
    strategies_in,
)
from lokr_weighting.studies.strategies import Strategy, drawn_order
from tests.studies.made_up_groups import BLOCKS, PATH, grouped, grouping


def test_groups_are_those_found_and_an_undivided_list_gives_its_middle_half() -> None:
    assert [(each.name, each.first, each.last) for each in spans_of([grouping()], BLOCKS)] == [
        ("first", 0, 2),
        ("middle 1", 3, 5),
        ("middle 2", 6, 9),
        ("last", 10, 11),
    ]
    undivided = grouping("text", {"all": (0, 10)})
    assert spans_of([undivided], BLOCKS) == [Span(PATH, "text", "middle half", 3, 8)]


def test_everything_is_tried_on_a_group_and_beside_it() -> None:
    span = Span(PATH, "image", "middle 1", 3, 5)
    tried = strategies_in(span, 12, loops=4, orders=2)
    assert tuple(tried) == ROWS
    assert tried[ONE] == [Strategy("skip", PATH, i, i) for i in (3, 4, 5)]
    assert tried["skip all"] == [Strategy("skip", PATH, 3, 5)]
    assert tried["skip every second"] == [Strategy("skip every second", PATH, 3, 5)]
    assert tried["looped parallel"] == [Strategy("looped", PATH, 3, 5, times=4)]
    assert tried[REPEAT_MIDDLE] == [Strategy("repeat", PATH, 3, 5, by=4)]
    assert [each.by for each in tried[REPEAT_ANY]] == [3, 4, 5]
    assert tried[BEFORE] == [Strategy("skip", PATH, 2, 2)]
    assert tried[BEHIND] == [Strategy("skip", PATH, 6, 6)]


def test_at_the_ends_and_of_one_block_only_what_there_is_is_tried() -> None:
    assert set(strategies_in(Span(PATH, "image", "first", 0, 0), 12)) == {ONE, BEHIND}
    assert BEHIND not in strategies_in(Span(PATH, "image", "last", 10, 11), 12)


@pytest.mark.parametrize(("last", "orders"), [(1, 1), (2, 5), (5, 7)])
def test_random_orders_are_different_ones_or_all_there_are(last: int, orders: int) -> None:
    span = Span(PATH, "image", "first", 0, last)
    drawn = strategies_in(span, 12, orders=7)["random order"]
    found = {tuple(drawn_order(last + 1, each.seed or 0)) for each in drawn}
    assert len(found) == len(drawn) == orders


def test_each_strategy_is_run_once_though_groups_share_blocks() -> None:
    spans = spans_of([grouping(), grouping("text")], BLOCKS)
    chosen = group_strategies(spans, BLOCKS)
    assert len(chosen) == len(set(chosen))
    assert set(chosen) == set(group_strategies(spans[:4], BLOCKS))


def test_a_row_is_the_mean_of_its_strategies_with_the_samples_standard_error() -> None:
    ablation = grouped()
    rows = {(row.span.name, row.name): row for row in rows_of(ablation)}
    assert len(rows) == 4 * len(ROWS) - 2
    row = rows["middle 2", REPEAT_ANY]
    samples = np.mean([np.asarray(each.by_sample) for each in row.changes], axis=0)
    assert row.change == pytest.approx(samples.mean())
    of_bin = samples.reshape(10, 4)
    assert row.error == pytest.approx(np.sqrt((of_bin.var(axis=1, ddof=1) / 4).sum()) / 10)
    assert row.by_bin == pytest.approx(of_bin.mean(axis=1))
    every = [each.change for each in row.changes]
    assert row.spread == (min(every), max(every))
    assert rows["middle 2", "reverse"].spread is None


def test_rows_count_the_orders_and_loops_that_were_run_whatever_their_number() -> None:
    span = Span(PATH, "image", "middle 2", 6, 9)
    ablation = grouped()
    template = ablation.changes[0]
    tried = strategies_in(span, 12, loops=7, orders=5)
    strategies = [each for row in tried.values() for each in row]
    changes = tuple(replace(template, strategy=each) for each in dict.fromkeys(strategies))
    rows = {row.name: row for row in rows_of(replace(ablation, spans=(span,), changes=changes))}
    assert len(rows["random order"].changes) == 5
    assert [each.strategy.times for each in rows["looped parallel"].changes] == [7]


def test_what_could_not_be_run_stands_in_its_row() -> None:
    ablation = grouped()
    reverse = Strategy("reverse", PATH, 10, 11)
    without = tuple(each for each in ablation.changes if each.strategy != reverse)
    refused = (Refused(reverse, "no text"),)
    ablation = replace(ablation, changes=without, refused=refused)
    (row,) = (r for r in rows_of(ablation) if (r.span.name, r.name) == ("last", "reverse"))
    assert row.changes == ()
    assert row.refused == refused
    assert np.isnan(row.change)
    assert reverse not in drawn_strategies(ablation)


def test_images_are_drawn_of_groups_and_of_the_blocks_beside_them() -> None:
    ablation = grouped()
    kinds = {each.kind for each in drawn_strategies(ablation)}
    assert kinds == {"skip", "skip every second", "reverse", "parallel", "looped", "repeat"}
    every = [each.strategy for each in ablation.changes]
    assert drawn_strategies(replace(ablation, spans=())) == every
