"""The captions of the coloured shapes decide the pictures, and each task keeps to its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.inputs import SCRIPTS


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.parametrize("task", ["base", "combination", "style", "concept"])
def test_shape_images_are_the_same_each_time(tmp_path: Path, task: str) -> None:
    from shapes_images import write_folder

    write_folder(tmp_path / "a", count=6, seed=3, task=task)
    write_folder(tmp_path / "b", count=6, seed=3, task=task)
    write_folder(tmp_path / "c", count=6, seed=4, task=task)
    files = sorted((tmp_path / "a").iterdir())
    assert len(files) == 12
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    assert any(file.read_bytes() != (tmp_path / "c" / file.name).read_bytes() for file in files)


@pytest.mark.parametrize("count", [0, -1])
def test_a_folder_of_no_images_is_refused(tmp_path: Path, count: int) -> None:
    from shapes_images import write_folder

    with pytest.raises(ValueError, match="count must be"):
        write_folder(tmp_path / "none", count=count, seed=0)
    assert not (tmp_path / "none").exists()


def test_captions_name_the_scene_in_known_words() -> None:
    from shapes_images import COUNT_WORDS, PLURALS, TASKS, WORDS, caption, random_scene

    rng = np.random.default_rng(0)
    for task in TASKS:
        for _ in range(300):
            scene = random_scene(rng, task)
            words = caption(scene).split()
            assert set(words) <= set(WORDS)
            assert len(words) <= 14
            thing = scene.shape if scene.count == 1 else PLURALS[scene.shape]
            assert words[:4] == [COUNT_WORDS[scene.count], scene.texture, scene.colour, thing]
            assert words[6:8] == [scene.ground, "ground"]
            assert words[10] == scene.place
            assert ("sketch" in words) == scene.sketch


def test_each_task_shows_its_own_scenes_only() -> None:
    from shapes_images import HELD_OUT, NEW_SHAPE, TASKS, is_held_out, random_scene

    rng = np.random.default_rng(0)
    scenes = {task: [random_scene(rng, task) for _ in range(1000)] for task in TASKS}
    for task, drawn in scenes.items():
        assert all(scene.colour != scene.ground for scene in drawn)
        assert {is_held_out(scene) for scene in drawn} == {task == "combination"}
        assert {scene.sketch for scene in drawn} == {task == "style"}
        assert (NEW_SHAPE in {scene.shape for scene in drawn}) == (task == "concept")
    assert {scene.shape for scene in scenes["concept"]} == {NEW_SHAPE}
    for pair in HELD_OUT:
        assert any(
            all(getattr(scene, name) == value for name, value in pair.items())
            for scene in scenes["combination"]
        )
        for name, value in pair.items():  # alone, each of the two is known
            assert any(getattr(scene, name) == value for scene in scenes["base"])


def test_an_unknown_task_is_refused() -> None:
    from shapes_images import random_scene

    with pytest.raises(ValueError, match="task must be one of"):
        random_scene(np.random.default_rng(0), "other")


def test_each_attribute_changes_the_picture_and_so_does_chance() -> None:
    from shapes_images import ATTRIBUTES, Scene, draw_scene

    def drawn(scene: Scene, seed: int = 0) -> bytes:
        return draw_scene(scene, np.random.default_rng(seed)).tobytes()

    scene = Scene(2, "striped", "red", "star", "blue", "left")
    assert drawn(scene) == drawn(scene)
    assert drawn(scene) != drawn(scene, seed=1)
    for name, values in ATTRIBUTES.items():
        pictures = {drawn(replace(scene, **{name: value})) for value in values}
        assert len(pictures) == len(values), name


def test_objects_lie_inside_and_where_the_caption_says() -> None:
    from shapes_images import IMAGE_SIZE, place_objects, random_scene

    rng = np.random.default_rng(0)
    middle = IMAGE_SIZE / 2
    for _ in range(300):
        scene = random_scene(rng)
        centres, radius = place_objects(scene, rng)
        assert centres.shape == (scene.count, 2)
        assert np.all(np.abs(centres - middle) + radius <= middle)
        gaps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert np.all(gaps > 2 * radius - 0.1)
        x, y = centres.T
        inside = {
            "left": x < middle - 8,
            "right": x > middle + 8,
            "top": y < middle - 8,
            "bottom": y > middle + 8,
            "middle": (np.abs(x - middle) < 3) | (np.abs(y - middle) < 3),
        }
        assert np.all(inside[scene.place])


@pytest.mark.slow  # for its imports
def test_every_word_is_one_token() -> None:
    from shapes.pipeline import make_clip_tokenizer, make_t5_tokenizer
    from shapes_images import WORDS

    text = " ".join(WORDS)
    assert len(make_clip_tokenizer()(text).input_ids) == len(WORDS) + 2
    assert len(make_t5_tokenizer()(text).input_ids) == len(WORDS) + 1
