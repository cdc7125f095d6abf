import os
import time
from pathlib import Path

import pytest

from lokr_weighting import digests
from lokr_weighting.digests import CACHE, file_digests, unread_bytes


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was written long enough ago to be remembered."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "YOUNG", 0.0)
    file = tmp_path / "weights"
    file.write_bytes(b"a" * 1000)
    time.sleep(0.01)
    return file


def test_a_file_is_read_once(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unread_bytes([old]) == 1000
    first = file_digests([old])
    assert unread_bytes([old]) == 0
    monkeypatch.setattr(digests, "_digest", lambda _: pytest.fail("read again"))
    assert file_digests([old]) == first


def test_a_change_of_equal_size_with_the_time_put_back_is_noticed(old: Path) -> None:
    first, stat = file_digests([old]), old.stat()
    time.sleep(0.01)
    old.write_bytes(b"b" * 1000)
    os.utime(old, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file_digests([old]) != first


def test_a_link_is_what_it_leads_to(old: Path, tmp_path: Path) -> None:
    """As the hub's cache keeps its files."""
    link = tmp_path / "link"
    link.symlink_to(old)
    assert file_digests([link]) == file_digests([old])
    assert unread_bytes([link]) == 0


def test_a_file_written_just_now_is_not_remembered(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "YOUNG", 60.0)
    file_digests([old])
    assert unread_bytes([old]) == 1000


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "{", "\x00"])
def test_a_damaged_memory_is_no_memory(old: Path, tmp_path: Path, content: str) -> None:
    first = file_digests([old])
    (tmp_path / "cache" / "digests.json").write_text(content)
    assert file_digests([old]) == first


def test_where_nothing_can_be_remembered_files_are_read_again(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(old / "below-a-file"))
    assert file_digests([old]) == file_digests([old])
    assert [each.name for each in tmp_path.iterdir()] == ["weights"]
