import fcntl
from pathlib import Path

import pytest

from lokr_weighting.errors import OutputError
from lokr_weighting.files import UNFINISHED, beside, check_there, write_text

LEFT = f".x.json.abcd1234{UNFINISHED}"
OWN = (".x.json.swp", ".x.json.original", "x.json.bak", f".y.json.abcd1234{UNFINISHED}")


@pytest.mark.parametrize("is_folder", [False, True])
def test_what_a_killed_writer_left_goes_with_the_next_write(
    is_folder: bool, tmp_path: Path
) -> None:
    if is_folder:
        (tmp_path / LEFT / "whole").mkdir(parents=True)
    else:
        (tmp_path / LEFT).write_text("half")
    for name in OWN:
        (tmp_path / name).write_text("my own")
    write_text(tmp_path / "x.json", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"x.json", *OWN}


def test_what_a_living_writer_holds_stays(tmp_path: Path) -> None:
    with (tmp_path / LEFT).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write_text(tmp_path / "x.json", "whole")
        assert (tmp_path / LEFT).exists()
    with beside(tmp_path / "x.json") as folder:
        write_text(tmp_path / "x.json", "whole")
        assert folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_temporary_folder_lies_where_its_content_can_be_moved_from(tmp_path: Path) -> None:
    with beside(tmp_path / "new") as folder:
        assert folder.parent == tmp_path
    (tmp_path / "new").mkdir()
    with beside(tmp_path / "new") as folder:
        assert folder.parent == tmp_path / "new"
    assert not any((tmp_path / "new").iterdir())


def test_what_was_removed_meanwhile_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "there", "")
    check_there([tmp_path / "there"])
    with pytest.raises(OutputError, match=r"gone: was removed while this ran"):
        check_there([tmp_path / "there", tmp_path / "gone"])
