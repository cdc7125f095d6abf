"""The table of families, its page, and what is in them."""

import pytest

from lokr_weighting.models.table import checkpoints, family_files
from lokr_weighting.show.console import as_text
from lokr_weighting.show.families import families_page, families_table, family_rows
from tests.inputs import SCRIPTS


def test_the_page_is_todays_table() -> None:
    page = SCRIPTS.parent / "docs" / "families.md"
    assert page.read_text(encoding="utf-8") == families_page(family_rows())


def test_every_family_class_list_pipeline_and_checkpoint_is_in_the_table() -> None:
    rows = {row.family: row for row in family_rows()}
    assert list(rows) == [file.name for file in family_files()]
    for file in family_files():
        row = rows[file.name]
        assert row.classes == file.classes
        assert list(row.blocks) == [blocks.path for blocks in file.lists]
        assert row.generate == tuple(file.pipelines)
        assert row.tested
    assert {name for row in rows.values() for name in row.checkpoints} == set(checkpoints())


@pytest.mark.parametrize(
    ("family", "path", "words"),
    [
        ("sd3", "transformer_blocks", "image and text"),
        ("wan", "blocks", "image alone"),
        ("auraflow", "single_transformer_blocks", "both in one, text first"),
    ],
)
def test_streams_are_said_in_words(family: str, path: str, words: str) -> None:
    row = next(row for row in family_rows() if row.family == family)
    assert row.blocks[path] == words
    assert f"{path}: {words}" in row.cells[2]


def test_a_printed_table_names_every_family() -> None:
    text = as_text(families_table(family_rows()))
    assert all(row.family in text for row in family_rows())
