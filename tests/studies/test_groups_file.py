from pathlib import Path

import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.files import read_json, write_json
from lokr_weighting.studies.groups_file import read_groups
from tests.studies.made_up_groups import BLOCKS, grouping, similarity


def test_what_similarity_wrote_is_read_by_its_folder_or_its_file(tmp_path: Path) -> None:
    write_json(tmp_path / "similarity.json", similarity().as_json())
    for path in (tmp_path, tmp_path / "similarity.json"):
        blocks, (image, text) = read_groups(path)
        assert tuple(blocks) == BLOCKS
        assert image == grouping()
        assert text.groups[0].name == "all"


def test_what_holds_no_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LokrWeightingError, match=r"holds no similarity\.json; measure with"):
        read_groups(tmp_path)
    with pytest.raises(LokrWeightingError, match="there is no such file"):
        read_groups(tmp_path / "nowhere")
    write_json(tmp_path / "similarity.json", {"loss": 1})
    with pytest.raises(LokrWeightingError, match="key 'schema_version' is missing"):
        read_groups(tmp_path)


@pytest.mark.parametrize(
    ("first", "last", "message"),
    [(0, 12, "blocks has 12 blocks, its groups others"), (3, 2, "goes from block 3 to 2")],
)
def test_groups_that_the_blocks_do_not_have_are_refused(
    first: int, last: int, message: str, tmp_path: Path
) -> None:
    write_json(tmp_path / "similarity.json", similarity().as_json())
    data = read_json(tmp_path / "similarity.json")
    data["groupings"][0]["groups"][0] |= {"first": first, "last": last}
    write_json(tmp_path / "similarity.json", data)
    with pytest.raises(LokrWeightingError, match=message):
        read_groups(tmp_path)
