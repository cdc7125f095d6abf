"""Write a folder of captioned images of coloured shapes.

The captions decide the pictures: "two striped red stars on a blue ground at the left" names all
that is drawn, up to a little chance in place, size, rotation and tone. Beside each
``shape_0000.png``, 64x64 RGB, lies a ``shape_0000.txt`` with its caption. This is the layout that
image trainers such as SimpleTuner read.

    python scripts/shapes_images.py FOLDER --count 200 --seed 0 --task base

A base model learns from the task ``base`` and can then be taught what that leaves out:
``combination``, two pairs of attributes that never meet there; ``style``, the same scenes "as a
sketch"; ``concept``, a new object, the "zorp".
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

IMAGE_SIZE = 64
OVERSAMPLING = 4
CANVAS = IMAGE_SIZE * OVERSAMPLING

TASKS = ("base", "combination", "style", "concept")
COUNT_WORDS = {1: "one", 2: "two", 3: "three"}
TEXTURES = ("plain", "striped", "dotted")
PLURALS = {
    "circle": "circles",
    "square": "squares",
    "triangle": "triangles",
    "star": "stars",
    "cross": "crosses",
    "ring": "rings",
    "zorp": "zorps",
}
NEW_SHAPE = "zorp"
SHAPES = tuple(shape for shape in PLURALS if shape != NEW_SHAPE)
COLOURS = {
    "red": (215, 35, 40),
    "green": (35, 150, 55),
    "blue": (40, 75, 210),
    "yellow": (245, 215, 40),
    "purple": (135, 50, 170),
    "white": (250, 250, 250),
    "black": (20, 20, 20),
    "orange": (245, 135, 25),
}
GROUNDS = {
    "white": (240, 240, 240),
    "black": (30, 30, 30),
    "blue": (110, 160, 235),
    "green": (110, 195, 125),
    "yellow": (245, 230, 120),
    "grey": (145, 145, 145),
}
PLACES = ("left", "right", "bottom", "top", "middle")

ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "count": tuple(COUNT_WORDS),
    "texture": TEXTURES,
    "colour": tuple(COLOURS),
    "shape": tuple(PLURALS),
    "ground": tuple(GROUNDS),
    "place": PLACES,
    "sketch": (False, True),
}
"""Every attribute of a scene with all values that it can have."""

HELD_OUT: tuple[dict[str, str], ...] = (
    {"texture": "striped", "shape": "star"},
    {"colour": "purple", "shape": "ring"},
)
"""Attributes that meet only in the task ``combination``."""

WORDS = tuple(
    dict.fromkeys(
        [
            *COUNT_WORDS.values(),
            *TEXTURES,
            *COLOURS,
            *PLURALS,
            *PLURALS.values(),
            *GROUNDS,
            *PLACES,
            *("on", "a", "ground", "at", "in", "the", "as", "sketch"),
        ]
    )
)
"""Every word that a caption can have."""

RADII = {1: (11.0, 14.0), 2: (9.5, 11.5), 3: (8.4, 9.4)}
"""Least and greatest radius of an object in pixels, by the number of objects."""
NEAR, CENTRE, FAR = 15.5, 31.5, 47.5
TILT = np.radians(12)
STRIPE_PERIOD = 5.0
DOT_SPACING = 7.0
DOT_RADIUS = 2.4
LINE_WIDTH = 2.25
CREAM = (250, 240, 215)


@dataclass(frozen=True)
class Scene:
    """What a picture shows: the objects, all alike, the ground, and where the objects lie."""

    count: int
    texture: str
    colour: str
    shape: str
    ground: str
    place: str
    sketch: bool = False


def caption(scene: Scene) -> str:
    """Return the caption of a scene, 11 words or with its style 14."""
    thing = scene.shape if scene.count == 1 else PLURALS[scene.shape]
    objects = f"{COUNT_WORDS[scene.count]} {scene.texture} {scene.colour} {thing}"
    place = "in the middle" if scene.place == "middle" else f"at the {scene.place}"
    style = " as a sketch" if scene.sketch else ""
    return f"{objects} on a {scene.ground} ground {place}{style}"


def is_held_out(scene: Scene) -> bool:
    """Tell whether a scene has a combination that the task ``base`` never shows."""
    return any(
        all(getattr(scene, name) == value for name, value in pair.items()) for pair in HELD_OUT
    )


def random_scene(rng: np.random.Generator, task: str = "base") -> Scene:
    """Return a random scene of a task.

    Of ``combination`` every scene has a held-out combination, of all others none.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {task}")
    while True:
        scene = Scene(
            count=int(rng.integers(1, len(COUNT_WORDS) + 1)),
            texture=str(rng.choice(TEXTURES)),
            colour=str(rng.choice(list(COLOURS))),
            shape=NEW_SHAPE if task == "concept" else str(rng.choice(SHAPES)),
            ground=str(rng.choice(list(GROUNDS))),
            place=str(rng.choice(PLACES)),
            sketch=task == "style",
        )
        if task == "combination":
            scene = replace(scene, **HELD_OUT[rng.integers(len(HELD_OUT))])
        if scene.colour != scene.ground and is_held_out(scene) == (task == "combination"):
            return scene


def regular(corners: int, radii: tuple[float, ...]) -> np.ndarray:
    """Return the corners of a regular polygon, the first on top, with the radii in turn."""
    angles = 2 * np.pi * np.arange(corners) / corners
    lengths = np.resize(radii, corners)
    return np.stack([lengths * np.sin(angles), -lengths * np.cos(angles)], axis=1)


def curves(shape: str) -> list[np.ndarray]:
    """Return the closed curves of a shape of radius 1, y pointing down: its rim, then its holes."""
    if shape == "circle":
        return [regular(64, (1.0,))]
    if shape == "ring":
        return [regular(64, (1.0,)), regular(64, (0.5,))]
    if shape == "triangle":
        return [regular(3, (1.2,)) + np.array((0, 0.2))]
    if shape == "star":
        return [regular(10, (1.15, 0.48))]
    if shape == "square":
        return [0.88 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])]
    if shape == "cross":
        arm = np.array([(-0.34, -1), (0.34, -1), (0.34, -0.34)])
        turns = [np.array([(0, 1), (-1, 0)])] * 4
        turned = [arm @ np.linalg.matrix_power(turn, times) for times, turn in enumerate(turns)]
        return [np.concatenate(turned)]
    # the zorp: a house with a steep wide roof and an open door
    roof = [(0, -1.15), (1.1, -0.1), (0.75, -0.1)]
    walls = [(0.75, 0.95), (0.3, 0.95), (0.3, 0.25), (-0.3, 0.25), (-0.3, 0.95), (-0.75, 0.95)]
    return [np.array([*roof, *walls, (-0.75, -0.1), (-1.1, -0.1)])]


def place_objects(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return the objects' centres, (count, 2), and their radius, in pixels.

    At the left and right the objects stand above each other, at the top and bottom beside each
    other, in the middle either way.
    """
    radius = rng.uniform(*RADII[scene.count])
    upright = scene.place in ("left", "right") or (scene.place == "middle" and rng.random() < 0.5)
    anchor = {"left": NEAR, "top": NEAR, "middle": CENTRE}.get(scene.place, FAR)
    gap = 2 * radius + rng.uniform(1.5, 3.0)
    along = CENTRE + (np.arange(scene.count) - (scene.count - 1) / 2) * gap
    slack = max(0.0, along[0] - radius - 1)
    along = along + rng.uniform(-1, 1) * min(slack, 6.0)
    across = anchor + rng.uniform(-1.5, 1.5, scene.count)
    centres = np.stack([across, along] if upright else [along, across], axis=1)
    return np.clip(centres, radius + 0.5, IMAGE_SIZE - radius - 0.5), radius


def texture_mask(texture: str, phase: np.ndarray) -> np.ndarray:
    """Return where on the canvas a texture, all diagonal, has its second tone.

    The pattern starts at ``phase``, a point in pixels.
    """
    grid = (np.arange(CANVAS) + 0.5) / OVERSAMPLING
    x, y = grid[None, :] - phase[0], grid[:, None] - phase[1]
    u, v = (x + y) / np.sqrt(2), (y - x) / np.sqrt(2)
    if texture == "striped":
        return u % STRIPE_PERIOD < STRIPE_PERIOD / 2
    if texture == "dotted":
        u, v = ((w + DOT_SPACING / 2) % DOT_SPACING - DOT_SPACING / 2 for w in (u, v))
        return u**2 + v**2 < DOT_RADIUS**2
    return np.zeros((CANVAS, CANVAS), dtype=bool)


def object_masks(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return where on the canvas the objects have their colour, and where its second tone.

    As a sketch, an object has no second tone: its colour is in its outline and its texture.
    """
    centres, radius = place_objects(scene, rng)
    filled, lines = (Image.new("1", (CANVAS, CANVAS)) for _ in range(2))
    for centre in centres:
        angle = rng.uniform(-TILT, TILT)
        turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
        for curve, inside in zip(curves(scene.shape), (1, 0), strict=False):
            points = [tuple(p) for p in ((curve * radius) @ turn + centre) * OVERSAMPLING]
            ImageDraw.Draw(filled).polygon(points, fill=inside)
            width = round(LINE_WIDTH * OVERSAMPLING)
            ImageDraw.Draw(lines).line([*points, *points[:2]], 1, width, joint="curve")
    inside, second = np.asarray(filled), texture_mask(scene.texture, centres[0])
    if scene.sketch:
        return np.asarray(lines) | (inside & second), np.zeros_like(inside)
    return inside, inside & second


def jitter(colour: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a colour that differs by chance by up to 8 of 255."""
    return np.clip(np.array(colour) + rng.uniform(-8, 8, 3), 0, 255)


def second_tone(colour: np.ndarray) -> np.ndarray:
    """Return the tone of a colour's stripes and dots: a darker, or of a dark colour a lighter."""
    bright = colour @ (0.299, 0.587, 0.114) > 130
    return colour * 0.45 if bright else colour * 0.45 + 255 * 0.55


def draw_ground(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Return the canvas before anything lies on it; for a sketch, tinted paper with hatching."""
    ground = jitter(GROUNDS[scene.ground], rng)
    canvas = np.broadcast_to(ground, (CANVAS, CANVAS, 3)).copy()
    if scene.sketch:
        canvas[:] = 0.75 * ground + 0.25 * np.array(CREAM)
        grid = np.arange(CANVAS) / OVERSAMPLING
        hatching = (grid[None, :] + grid[:, None] + rng.uniform(0, 6)) % 6 < 1.25
        canvas[hatching] = 0.75 * ground
    return canvas


def draw_scene(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Draw a scene, 64x64 RGB with soft edges."""
    canvas = draw_ground(scene, rng)
    colour = jitter(COLOURS[scene.colour], rng)
    first, second = object_masks(scene, rng)
    canvas[first] = colour
    canvas[second] = second_tone(colour)
    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    return image.reduce(OVERSAMPLING)


def write_folder(folder: Path, count: int, seed: int, task: str = "base") -> None:
    """Write ``count`` images and captions of a task into ``folder``, each file in one step.

    Names depend only on the position, so a second run writes over the first.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for position in range(count):
        scene = random_scene(rng, task)
        target = folder / f"shape_{position:04d}"
        unfinished = folder / f".{target.name}.part"
        unfinished.write_text(caption(scene), encoding="utf-8")
        unfinished.replace(target.with_suffix(".txt"))
        draw_scene(scene, rng).save(unfinished, format="PNG")
        unfinished.replace(target.with_suffix(".png"))


def main() -> None:
    """Read the command line and write the folder."""
    parser = argparse.ArgumentParser(description="Write captioned images of coloured shapes.")
    parser.add_argument("folder", type=Path, help="where to write; made when missing")
    parser.add_argument("--count", type=int, default=200, help="number of images (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="which scenes are drawn (default 0)")
    parser.add_argument("--task", choices=TASKS, default="base", help="what they show")
    arguments = parser.parse_args()
    try:
        write_folder(arguments.folder, arguments.count, arguments.seed, arguments.task)
    except ValueError as error:
        parser.error(str(error))
    print(f"{arguments.count} images with captions in {arguments.folder}")


if __name__ == "__main__":
    main()
