from dataclasses import replace

from rich.console import Console
from rich.table import Table

from lokr_weighting.show.painters_tables import (
    painters_remarks,
    painters_table,
    statements_remarks,
    statements_table,
)
from lokr_weighting.studies.ablation import Captions, Obeyed, Refused, Span
from lokr_weighting.studies.statements import answers_of
from lokr_weighting.studies.strategies import Strategy
from tests.studies.made_up_groups import PATH, grouped
from tests.studies.test_statements import as_in_the_study


def cells(table: Table) -> list[list[str]]:
    return [
        list(map(str, row)) for row in zip(*(each.cells for each in table.columns), strict=True)
    ]


def test_a_row_says_what_it_cost_and_over_what() -> None:
    rows = cells(painters_table(grouped(as_in_the_study)))
    assert rows[0][:3] == ["blocks.0-2", "image: first", "skip one block"]
    whole = next(row for row in rows if row[2] == "reverse")
    assert whole[3].startswith("+1.59") or whole[3].startswith("+1.60")
    assert whole[5] == ""
    repeated = next(row for row in rows if row[2] == "repeat any block")
    assert repeated[5].endswith(", 3 tried")
    assert sum(row[0] != "" for row in rows) == 4


def test_by_bin_every_bin_has_a_column() -> None:
    ablation = grouped(as_in_the_study)
    table = painters_table(ablation, by_bin=True)
    assert [str(each.header) for each in table.columns][4:] == [f"{n / 10:.1f}" for n in range(10)]
    row = next(row for row in cells(table) if row[2] == "looped parallel")
    assert float(row[4]) > float(row[-1])  # it costs most at clean timesteps


def test_what_cannot_be_run_and_what_is_obeyed_is_said() -> None:
    ablation = grouped(as_in_the_study)
    reverse = Strategy("reverse", PATH, 10, 11)
    looped = Strategy("looped", PATH, 3, 5, times=3)
    ablation = replace(
        ablation,
        changes=tuple(each for each in ablation.changes if each.strategy != reverse),
        refused=(Refused(reverse, "it hands no text on"),),
        captions=Captions(0.97, Obeyed(10, 10), ((looped, Obeyed(7, 10)),)),
        spans=(*ablation.spans, Span(PATH, "text", "middle half", 3, 8)),
    )
    rows = cells(painters_table(ablation))
    assert ["cannot be run", "", "", ""] in [row[3:] for row in rows]
    assert [row[6] for row in rows if row[6]] == ["7 of 10"]
    said = " ".join(painters_remarks(ablation))
    assert "reverse blocks.10-11: it hands no text on." in said
    assert "as it is 10 of 10, of your own images, each held out, 97%" in said
    assert "blocks, text stream: is not divided into groups" in said


def test_each_statement_has_its_number_its_interval_and_a_verdict() -> None:
    answers = answers_of(grouped(as_in_the_study))
    rows = cells(statements_table(answers))
    assert len(rows) == len(answers)
    assert rows[0][0] == "blocks, image"
    assert rows[0][2] == "+280% of the loss: skipping it, less skipping a block inside a group"
    assert {row[4] for row in rows} == {"agrees"}
    assert " to +" in rows[0][3]
    assert "that is an assumption" in statements_remarks()[0]
    # in a narrow terminal too
    Console(width=60, file=None, record=True).print(statements_table(answers))
