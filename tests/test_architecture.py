"""The picture of the house is of today's imports."""

import pytest

from tests.inputs import SCRIPTS

DOCUMENT = SCRIPTS.parent / "docs" / "architecture.md"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


def test_the_drawing_in_the_document_is_todays() -> None:
    from draw_architecture import with_drawing

    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_drawing(text) == text


def test_it_shows_every_wing_and_only_downward_arrows() -> None:
    from draw_architecture import arrows

    pairs = set(arrows())
    assert {wing for pair in pairs for wing in pair} == {
        *("plugin", "cli", "show", "studies", "measure", "targets"),
        *("plan", "data", "records", "models"),
    }
    assert not {(imported, importer) for importer, imported in pairs} & pairs
