import json

import pytest

from lokr_weighting.data.folder import find_images
from lokr_weighting.errors import LokrWeightingError
from tests.data.test_folder import captions, jsonl, picture


@pytest.mark.parametrize("name", ["a.txt", "a.png.txt", "a.caption", "a.CAPTION"])
def test_every_name_that_trainers_give_a_captions_file_is_read(tmp_path, name):
    picture(tmp_path / "a.png")
    (tmp_path / name).write_text("a cat")
    folder = find_images(tmp_path)
    assert captions(folder) == {"a.png": ("a cat",)}
    assert folder.ignored == {}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"caption": " a cat "}, ("a cat",)),
        ({"width": 8, "prompt": "a cat"}, ("a cat",)),
        ({"captions": ["a cat", "a pet"], "text": "x"}, ("a cat", "a pet")),
    ],
)
def test_a_json_file_beside_the_image_gives_its_caption(tmp_path, data, expected):
    picture(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert captions(find_images(tmp_path)) == {"a.png": expected}


@pytest.mark.parametrize("text", ['{"width": 8}', "[1, 2]", "3"])
def test_a_json_file_without_a_caption_is_somebody_elses_and_named(tmp_path, text):
    picture(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(text)
    folder = find_images(tmp_path)
    assert (captions(folder), folder.ignored) == ({"a.png": ("",)}, {".json": 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"caption": 3}', "a.json: caption must be a string or a list of strings"),
        ('{"caption": ', "a.json:1: not valid JSON"),
        ("[" * 3000 + "]" * 3000, "nested more than 64 levels deep"),
        ('{"caption": ' + "1" * 5000 + "}", "a number of 5000 digits"),
    ],
)
def test_a_broken_json_caption_leaves_its_image_out_and_says_so(tmp_path, text, says):
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "a.json").write_text(text)
    (problem,) = find_images(tmp_path).problems
    assert problem.name == "a.png"
    assert says in problem.reason


def test_of_several_files_the_first_counts_and_the_others_are_named(tmp_path):
    picture(tmp_path / "a.png")
    for suffix in ("txt", "caption"):
        (tmp_path / f"a.{suffix}").write_text(suffix)
    (tmp_path / "a.json").write_text('{"caption": "json"}')
    folder = find_images(tmp_path)
    assert captions(folder) == {"a.png": ("txt",)}
    assert folder.ignored == {".caption": 1, ".json": 1}


def test_a_chosen_extension_is_the_only_place(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("tags")
    (tmp_path / "a.caption").write_text("prose")
    (tmp_path / "a.note").write_text("a note")
    jsonl(tmp_path / "metadata.jsonl", {"file_name": "a.png", "text": "row"})
    folder = find_images(tmp_path, ".caption")
    assert captions(folder) == {"a.png": ("prose",)}
    assert folder.ignored == {".jsonl": 1, ".note": 1, ".txt": 1}
    assert captions(find_images(tmp_path, ".note")) == {"a.png": ("a note",)}


def test_a_chosen_column_is_read_in_metadata_and_json_files(tmp_path):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_text("not this")
    (tmp_path / "a.json").write_text('{"caption": "nor this", "long": "json"}')
    jsonl(tmp_path / "metadata.jsonl", {"file_name": "b.png", "long": ["x", "y"]})
    (tmp_path / "metadata.csv").write_text("file_name,long\nc.png,z\n")
    found = captions(find_images(tmp_path, "long"))
    assert found == {"a.png": ("json",), "b.png": ("x", "y"), "c.png": ("z",)}


def test_a_place_without_captions_is_refused(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat")
    with pytest.raises(LokrWeightingError, match=r"no image has a caption in '\.caption'"):
        find_images(tmp_path, ".caption")
    with pytest.raises(LokrWeightingError, match="give an extension like"):
        find_images(tmp_path, ".")


def test_another_column_is_asked_for_by_the_refusal(tmp_path):
    picture(tmp_path / "a.png")
    jsonl(tmp_path / "metadata.jsonl", {"file_name": "a.png", "prompt": "cat"})
    with pytest.raises(LokrWeightingError, match="key 'text' is missing; --captions NAME names"):
        find_images(tmp_path)
    assert captions(find_images(tmp_path, "prompt")) == {"a.png": ("cat",)}
