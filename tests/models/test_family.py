"""A row of the table says of every block list at least one stream."""

from typing import Any

import pytest

from lokr_weighting import LokrWeightingError, Streams
from lokr_weighting.files import checked
from lokr_weighting.models.table import FamilyFile


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ({"image_in": None, "text_in": None}, r"mine\.json: .*lists\.0.*a block needs a stream"),
        ({"image_in": None, "joined": "text first"}, "joined is 'text first', so image_in"),
    ],
)
def test_a_block_without_any_stream_is_refused_when_its_row_is_read(
    streams: dict[str, Any], message: str
) -> None:
    row = {"path": "blocks", "base": [], "streams": streams}
    data = {"name": "mine", "classes": ["Mine"], "lists": [row]}
    with pytest.raises(LokrWeightingError, match=message):
        checked(FamilyFile, data, "mine.json")
    with pytest.raises(LokrWeightingError, match=message.rpartition("*")[2]):
        Streams(**streams)


def test_a_row_says_which_blocks_have_one_stream_alone() -> None:
    assert Streams().alone is None
    assert Streams(image_in=None, image_out=None, text_out=None).alone == "text"
    assert Streams(text_in=None, image_out=None, text_out=None).alone == "image"
    joined = Streams(text_in=None, image_out=None, text_out=None, joined="image first")
    assert joined.alone is None
