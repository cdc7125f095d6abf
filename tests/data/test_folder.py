import json
import os
from pathlib import Path

import pytest
from PIL import Image

from lokr_weighting.data.folder import (
    ImageFolder,
    Problem,
    check_problems,
    find_images,
    fingerprint,
)
from lokr_weighting.errors import LokrWeightingError


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), colour).save(path)
    return path


def jsonl(path: Path, *rows: object) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def captions(folder: ImageFolder) -> dict[str, tuple[str, ...]]:
    return {item.name: item.captions for item in folder.items}


def refusal(folder: Path) -> str:
    with pytest.raises(LokrWeightingError) as caught:
        find_images(folder)
    return str(caught.value)


def test_a_text_file_of_the_same_name_is_the_caption(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("  a cat\n", encoding="utf-8")
    assert captions(find_images(tmp_path)) == {"a.png": ("a cat",)}


@pytest.mark.parametrize("suffix", ["txt", "caption"])
def test_every_line_of_a_text_file_is_a_caption_of_its_own(tmp_path, suffix):
    picture(tmp_path / "a.png")
    (tmp_path / f"a.{suffix}").write_bytes(b"a cat\r\n\r\n  on a mat \na cat\n")
    assert captions(find_images(tmp_path)) == {"a.png": ("a cat", "on a mat")}


def test_a_byte_order_mark_is_no_part_of_a_caption(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / name / f"{name}.png")
    (tmp_path / "a" / "a.txt").write_text("é", encoding="utf-8-sig")
    (tmp_path / "b" / "metadata.csv").write_text("file_name,text\nb.png,ü\n", encoding="utf-8-sig")
    row = json.dumps({"file_name": "c.png", "text": "ö"})
    (tmp_path / "c" / "metadata.jsonl").write_text(row, encoding="utf-8-sig")
    found = captions(find_images(tmp_path))
    assert found == {"a/a.png": ("é",), "b/b.png": ("ü",), "c/c.png": ("ö",)}


def test_what_is_not_read_is_named_with_how_many(tmp_path):
    picture(tmp_path / "a.png")
    for name in ("b.heic", "c.heic", "a.npz", "README", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    picture(tmp_path / "masks" / "a.png")
    picture(tmp_path / "Cache" / "deep" / "a.png")
    picture(tmp_path / "a-masklabel.png")
    folder = find_images(tmp_path)
    assert captions(folder) == {"a.png": ("",)}
    assert folder.ignored == {
        ".heic": 2,
        ".npz": 1,
        "hidden": 1,
        "images *-masklabel": 1,
        "images in Cache/": 1,
        "images in masks/": 1,
        "without a suffix": 1,
    }
    assert "2 .heic, 1 .npz, 1 hidden" in folder.remarks[0]


def test_images_in_a_folder_called_masks_count_where_they_have_captions(tmp_path):
    picture(tmp_path / "masks" / "venice.png")
    picture(tmp_path / "masks" / "other.png")
    (tmp_path / "masks" / "venice.txt").write_text("a mask from Venice")
    folder = find_images(tmp_path)
    assert captions(folder) == {"masks/venice.png": ("a mask from Venice",)}
    assert folder.ignored == {"images in masks/": 1}
    (tmp_path / "masks" / "venice.txt").unlink()
    assert "holds no images but 2 images in masks/" in refusal(tmp_path)
    assert len(find_images(tmp_path / "masks").items) == 2


def test_dots_in_a_name_do_not_confuse_captions(tmp_path):
    picture(tmp_path / "v1.2.png")
    picture(tmp_path / "v1.3.png")
    (tmp_path / "v1.2.txt").write_text("two")
    (tmp_path / "v1.txt").write_text("neither")
    assert captions(find_images(tmp_path)) == {"v1.2.png": ("two",), "v1.3.png": ("",)}


def test_metadata_jsonl_gives_captions_relative_to_its_own_folder(tmp_path):
    picture(tmp_path / "sub" / "a.png")
    picture(tmp_path / "sub" / "deep" / "b.png")
    jsonl(
        tmp_path / "sub" / "metadata.jsonl",
        {"file_name": "a.png", "text": "one", "width": 8},
        {"file_name": "./deep/b.png", "text": ["two", "three"]},
        {"file_name": "a.png", "text": "four"},
    )
    assert captions(find_images(tmp_path)) == {
        "sub/a.png": ("one", "four"),
        "sub/deep/b.png": ("two", "three"),
    }


def test_a_line_separator_inside_a_json_string_does_not_end_the_row(tmp_path):
    picture(tmp_path / "a.png")
    row = json.dumps({"file_name": "a.png", "text": "one\u2028two"}, ensure_ascii=False)
    (tmp_path / "metadata.jsonl").write_text(row + "\r\n\r\n", encoding="utf-8")
    assert captions(find_images(tmp_path)) == {"a.png": ("one two",)}


def test_metadata_csv_gives_captions_with_commas_quotes_and_lines(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "metadata.csv").write_text(
        'id,file_name,text\n1,a.png,"a ""big"" cat,\nasleep"\n\n2,b.png,dog\n3,a.png,cat\n'
    )
    assert captions(find_images(tmp_path)) == {
        "a.png": ('a "big" cat, asleep', "cat"),
        "b.png": ("dog",),
    }


def test_captions_of_all_sources_are_joined_without_duplicates(tmp_path):
    picture(tmp_path / "sub" / "a.png")
    (tmp_path / "sub" / "a.txt").write_text("from text")
    jsonl(tmp_path / "metadata.jsonl", {"file_name": "sub/a.png", "text": ["from root", ""]})
    (tmp_path / "sub" / "metadata.csv").write_text(
        "file_name,text\na.png,from text\na.png,from csv\n"
    )
    assert captions(find_images(tmp_path)) == {"sub/a.png": ("from text", "from root", "from csv")}


def test_class_folders_have_the_empty_caption_and_are_counted(tmp_path):
    picture(tmp_path / "cats" / "a.png")
    picture(tmp_path / "dogs" / "b.png")
    picture(tmp_path / "c.png")
    (tmp_path / "c.txt").write_text("a fox")
    picture(tmp_path / "d.png")
    (tmp_path / "d.txt").write_text(" \n")
    folder = find_images(tmp_path)
    assert captions(folder) == {
        "c.png": ("a fox",),
        "cats/a.png": ("",),
        "d.png": ("",),
        "dogs/b.png": ("",),
    }
    assert folder.without_caption == 3
    assert folder.problems == ()
    assert folder.root == tmp_path


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff", "gif"])
def test_suffixes_are_found_in_either_case(tmp_path, suffix):
    picture(tmp_path / f"a.{suffix}")
    (tmp_path / "b").mkdir()
    (tmp_path / f"a.{suffix}").rename(tmp_path / "b" / f"a.{suffix.upper()}")
    picture(tmp_path / f"a.{suffix}")
    names = [item.name for item in find_images(tmp_path).items]
    assert names == [f"a.{suffix}", f"b/a.{suffix.upper()}"]


def test_hidden_and_other_files_are_ignored(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / ".hidden.png")
    picture(tmp_path / ".cache" / "b.png")
    (tmp_path / ".cache" / "metadata.csv").write_text("nonsense")
    (tmp_path / "README.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "a.npz").write_bytes(b"")
    folder = find_images(tmp_path)
    assert captions(folder) == {"a.png": ("",)}
    assert folder.problems == ()


def test_a_hidden_folder_is_read_when_it_is_the_one_asked_for(tmp_path):
    picture(tmp_path / ".cache" / "a.png")
    assert captions(find_images(tmp_path / ".cache")) == {"a.png": ("",)}


def test_the_order_is_that_of_the_posix_paths(tmp_path):
    for name in ("b.png", "a/z.png", "a-b.png", "a.png", "B.png", "a/a/a.png"):
        picture(tmp_path / name)
    names = [item.name for item in find_images(tmp_path).items]
    assert names == ["B.png", "a-b.png", "a.png", "a/a/a.png", "a/z.png", "b.png"]


def test_a_caption_that_is_not_utf8_leaves_its_image_out_and_says_so(tmp_path):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "b.txt").write_bytes("schön".encode("latin-1"))
    folder = find_images(tmp_path)
    assert captions(folder) == {"a.png": ("",)}
    (problem,) = folder.problems
    assert problem.name == "b.png"
    assert "b.txt: is not UTF-8 text (byte 3)" in problem.reason


def test_a_link_to_nowhere_is_a_problem_and_not_fatal(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    folder = find_images(tmp_path)
    assert captions(folder) == {"a.png": ("",)}
    assert folder.problems == (Problem("b.png", "is not a readable file"),)


def test_linked_folders_are_followed_but_not_in_circles(tmp_path):
    picture(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "root")
    assert captions(find_images(tmp_path / "root")) == {"link/a.png": ("",)}


def test_a_missing_folder_is_refused(tmp_path):
    assert refusal(tmp_path / "gone") == f"{tmp_path / 'gone'}: there is no such folder"


def test_a_file_is_refused(tmp_path):
    assert "this is a file; a folder of images is wanted" in refusal(picture(tmp_path / "a.png"))


def test_a_folder_without_images_is_refused_with_the_suffixes_looked_for(tmp_path):
    (tmp_path / "a.psd").write_bytes(b"")
    message = refusal(tmp_path)
    assert ".png, .jpg, .jpeg, .webp, .bmp, .tif, .tiff, .gif, .avif" in message
    assert "there are 1 .psd" in message


@pytest.mark.parametrize("name", ["gone.png", "../a.png", "/a.png", "..", "notes.md", "sub\\a.png"])
def test_metadata_that_names_a_missing_image_is_refused_with_its_line(tmp_path, name):
    picture(tmp_path / "a.png")
    picture(tmp_path / "set" / "sub" / "a.png")
    (tmp_path / "set" / "notes.md").write_text("")
    path = tmp_path / "set" / "metadata.jsonl"
    jsonl(path, {"file_name": "sub/a.png", "text": ""}, {"file_name": name, "text": ""})
    message = refusal(tmp_path / "set")
    assert message.startswith(f"{path}:2: file_name {name!r}: there is no such image")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"file_name": "a.png", "text": ', "invalid JSON"),
        ('["a.png", "cat"]', "the whole"),
        ('{"text": "cat"}', "key 'file_name' is missing"),
        ('{"file_name": "a.png"}', "key 'text' is missing"),
        ('{"file_name": "a.png", "text": null}', "text = None: must be a string or a list"),
        ('{"file_name": "a.png", "text": ["cat", 3]}', "text.1 = 3: input should be a valid str"),
        ('{"file_name": "", "text": "cat"}', "file_name = ''"),
    ],
)
def test_a_malformed_jsonl_row_is_refused_with_its_line(tmp_path, line, says):
    picture(tmp_path / "a.png")
    path = tmp_path / "metadata.jsonl"
    path.write_text('{"file_name": "a.png", "text": "cat"}\n\n' + line + "\n")
    message = refusal(tmp_path)
    assert message.startswith(f"{path}:3: ")
    assert says in message


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        ("file_name,caption\na.png,cat\n", 1, "column 'text' is missing; the columns are file_na"),
        ("name,text\na.png,cat\n", 1, "column 'file_name' is missing"),
        ('file_name,text\na.png,"cat\n\n"\na.png,cat, black\n', 5, "3 fields, the header 2"),
        ("file_name,text\n\na.png\n", 3, "1 fields, the header 2"),
        ('file_name,text\na.png,cat\na.png,"dog\na.png,fox\n', 3, "not a CSV row"),
        ("file_name,text\n,cat\n", 2, "file_name = ''"),
    ],
)
def test_a_malformed_csv_is_refused_with_the_line_its_row_starts_at(tmp_path, rows, line, says):
    picture(tmp_path / "a.png")
    path = tmp_path / "metadata.csv"
    path.write_text(rows)
    message = refusal(tmp_path)
    assert message.startswith(f"{path}:{line}: ")
    assert says in message


def test_an_empty_metadata_csv_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text("\n")
    assert "columns file_name and text are wanted" in refusal(tmp_path)


def test_metadata_that_is_not_utf8_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_bytes(b"file_name,text\na.png,\xff\n")
    assert "metadata.csv: is not UTF-8 text (byte 21)" in refusal(tmp_path)


def dataset(root: Path) -> Path:
    picture(root / "a.png", "red")
    picture(root / "sub" / "b.png", "blue")
    (root / "a.txt").write_text("a cat")
    return root


def test_the_fingerprint_does_not_depend_on_place_or_time(tmp_path):
    one, two = dataset(tmp_path / "one"), dataset(tmp_path / "two")
    os.utime(two / "a.png", (0, 0))
    mark = fingerprint(find_images(one))
    assert mark == fingerprint(find_images(two))
    assert len(mark) == 16
    assert int(mark, 16) >= 0


def flip_last_byte(root: Path) -> None:
    content = (root / "a.png").read_bytes()
    (root / "a.png").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    "change",
    [
        flip_last_byte,
        lambda root: (root / "a.txt").write_text("a dog"),
        lambda root: (root / "a.txt").unlink(),
        lambda root: (root / "a.png").rename(root / "c.png"),
        lambda root: (root / "sub" / "b.png").unlink(),
        lambda root: picture(root / "c.png", "red"),
        lambda root: jsonl(root / "metadata.jsonl", {"file_name": "a.png", "text": "a pet"}),
    ],
)
def test_the_fingerprint_notices_every_change(tmp_path, change):
    root = dataset(tmp_path)
    before = fingerprint(find_images(root))
    change(root)
    assert fingerprint(find_images(root)) != before


def test_the_fingerprint_tells_one_caption_from_two(tmp_path):
    root = dataset(tmp_path)
    jsonl(root / "metadata.jsonl", {"file_name": "sub/b.png", "text": ["x", "y"]})
    two = fingerprint(find_images(root))
    jsonl(root / "metadata.jsonl", {"file_name": "sub/b.png", "text": "x y"})
    assert fingerprint(find_images(root)) != two


def test_a_file_gone_since_is_named_by_the_fingerprint(tmp_path):
    folder = find_images(dataset(tmp_path))
    (tmp_path / "a.png").unlink()
    with pytest.raises(LokrWeightingError, match=r"a\.png: cannot be read"):
        fingerprint(folder)


def test_finding_and_fingerprinting_change_nothing(tmp_path):
    root = dataset(tmp_path)

    def state() -> dict[str, tuple[int, bytes]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
            for path in root.rglob("*")
        }

    before = state()
    fingerprint(find_images(root))
    assert state() == before


def broken(count: int) -> list[Problem]:
    return [Problem(f"{number}.png", "image file is truncated") for number in range(count)]


def test_a_tenth_of_the_images_may_be_broken_and_no_more():
    check_problems([], 1)
    check_problems(broken(3), 30)
    with pytest.raises(LokrWeightingError, match="4 of 30 images are broken, at most 10% may be"):
        check_problems(broken(4), 30)
    check_problems(broken(29), 100, limit=0.29)


def test_the_first_broken_files_are_named_with_their_reasons():
    with pytest.raises(LokrWeightingError) as caught:
        check_problems(broken(8), 10)
    message = str(caught.value)
    assert "0.png: image file is truncated" in message
    assert "4.png" in message
    assert "5.png" not in message
    assert "and 3 more" in message


def test_an_image_that_is_broken_twice_counts_once():
    check_problems(broken(1) * 9, 10)


@pytest.mark.parametrize("total", [0, 2])
def test_no_image_left_is_refused_whatever_the_limit(total):
    with pytest.raises(LokrWeightingError, match="none is left"):
        check_problems(broken(total), total, limit=1)
