import math
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from lokr_weighting.data import images
from lokr_weighting.data.images import (
    BrokenImage,
    crop_size,
    open_image,
    random_crop,
    to_array,
)
from lokr_weighting.errors import LokrWeightingError

ORIENTATION = 0x0112
RED, WHITE = (255, 0, 0), (255, 255, 255)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def gray_levels(path: Path) -> list[int]:
    image = open_image(path)
    assert image.mode == "RGB"
    pixels = np.asarray(image)
    assert (pixels == pixels[..., :1]).all()
    return pixels[0, :, 0].tolist()


@pytest.mark.parametrize(
    "suffix", ["png", "jpg", "webp", "bmp", "tif", "gif", "avif", "jp2", "ppm", "jfif", "apng"]
)
def test_every_format_is_decoded_to_rgb(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (16, 8), RED).save(path)
    image = open_image(path)
    assert (image.mode, image.size) == ("RGB", (16, 8))
    assert np.abs(np.asarray(image, int) - RED).max() <= 3


def test_the_image_is_loaded_and_its_file_closed(tmp_path):
    path = tmp_path / "a.png"
    noise(8, 8).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        image = open_image(path)
    path.unlink()
    assert np.array_equal(np.asarray(image), np.asarray(noise(8, 8)))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_the_exif_orientation_is_applied_once(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    image = Image.new("RGB", (32, 16), "white")
    image.paste("black", (0, 0, 16, 16))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned clockwise: the left half becomes the upper one
    image.save(path, exif=exif)
    upright = np.asarray(open_image(path).convert("L"), int)
    assert upright.shape == (32, 16)
    assert upright[:14].max() < 40
    assert upright[18:].min() > 215


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_lose_the_image(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (16, 8), RED).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12")
    assert open_image(path).size == (16, 8)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_lies_over_white(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    image = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 51, 255)):
        image.putpixel((x, 0), (255, 0, 0, alpha))
    image.save(path, lossless=True, exact=True)  # for webp; the others ignore it
    assert np.asarray(open_image(path)).tolist() == [[[*WHITE], [255, 204, 204], [*RED]]]


def test_gray_with_alpha_lies_over_white(tmp_path):
    path = tmp_path / "a.png"
    image = Image.new("LA", (2, 1), (0, 255))
    image.putpixel((0, 0), (0, 0))
    image.save(path)
    assert gray_levels(path) == [255, 0]


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_a_transparent_palette_colour_becomes_white(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((1, 0), 1)
    image.save(path, transparency=0)
    assert np.asarray(open_image(path)).tolist() == [[[*WHITE], [*RED]]]


@pytest.mark.parametrize(
    ("mode", "clear", "opaque"), [("L", 0, 9), ("RGB", (0, 0, 0), (9, 9, 9)), ("1", 0, 1)]
)
def test_a_transparent_colour_without_alpha_channel_becomes_white(tmp_path, mode, clear, opaque):
    path = tmp_path / "a.png"
    image = Image.new(mode, (2, 1), clear)
    image.putpixel((1, 0), opaque)
    image.save(path, transparency=clear)
    assert gray_levels(path) == [255, 255 if mode == "1" else 9]


def test_an_opaque_palette_keeps_its_colours(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (2, 2), RED).convert("P").save(path)
    assert np.asarray(open_image(path))[0, 0].tolist() == [*RED]


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "png", "tif"):
        path = tmp_path / f"a.{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        pixel = np.asarray(open_image(path))[4, 4]
        assert np.abs(pixel.astype(int) - RED).max() <= 3, suffix


def test_a_photo_with_a_second_picture_in_it_is_decoded(tmp_path):
    path = tmp_path / "a.jpg"
    noise(32, 16).save(path, format="MPO", save_all=True, append_images=[noise(32, 16, 1)])
    assert open_image(path).size == (32, 16)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_gray_is_scaled_and_not_clipped(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.array([[0, 257, 32768, 65535]], dtype=np.uint16)).save(path)
    assert gray_levels(path) == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([-5, 25700, 65535], [0, 100, 255]),
        ([0, 1 << 19, 1 << 20], [0, 128, 255]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_32_bit_whole_numbers_are_scaled_to_the_first_white_that_holds_them(
    tmp_path, values, levels
):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([values], dtype=np.int32)).save(path)
    assert gray_levels(path) == levels


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([0, 0.2, 0.4], [0, 51, 102]),
        ([-1, 1, 2], [0, 128, 255]),
        ([math.nan, math.inf, 1], [0, 255, 255]),
        ([math.nan, 0, -math.inf], [0, 0, 0]),
    ],
)
def test_32_bit_floats_are_scaled_by_1_or_by_their_largest(tmp_path, values, levels):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([values], dtype=np.float32)).save(path)
    assert gray_levels(path) == levels


BOMB = """
import resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from lokr_weighting.data.images import open_image
path, kind = Path(sys.argv[1]) / "a.png", sys.argv[2]
if kind == "gray":
    Image.fromarray(np.zeros((9400, 9400), np.uint16)).save(path)
else:
    Image.new("RGBA", (13300, 13300), (255, 0, 0, 128)).save(path, compress_level=1)
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]), -1))
image = open_image(path)
print(image.size, image.getpixel((5, 9000)), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "pixel"), [("gray", (0, 0, 0)), ("rgba", (255, 127, 127))])
def test_a_small_file_of_many_pixels_is_decoded_in_2_gigabytes(tmp_path, kind, pixel):
    run = [sys.executable, "-W", "ignore", "-c", BOMB, str(tmp_path), kind, str(2 << 30)]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert str(pixel) in done.stderr


def test_bands_join_without_a_seam(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for mode, shape in (("RGBA", (50, 7, 4)), ("LA", (50, 7, 2)), ("L", (50, 7))):
        image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode)
        image.save(tmp_path / "a.png")
        whole = np.asarray(open_image(tmp_path / "a.png"))
        with monkeypatch.context() as patched:
            patched.setattr(images, "BAND", 20)
            assert np.array_equal(np.asarray(open_image(tmp_path / "a.png")), whole)


def test_a_format_whose_decoder_needs_much_memory_is_bounded_by_name(tmp_path, monkeypatch):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.webp")
    monkeypatch.setitem(images.MOST_PIXELS, "WEBP", 1000)
    with pytest.raises(BrokenImage, match="has 64 x 64 pixels; of WEBP at most 1,000"):
        open_image(tmp_path / "a.webp")


def test_a_cmyk_jpeg_keeps_its_colours(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path)
    assert np.abs(np.asarray(open_image(path), int) - RED).max() <= 6


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "gif"])
def test_a_truncated_image_is_broken(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise(64, 64).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BrokenImage, match=r"\S"):
        open_image(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"II*\0"])
def test_an_empty_or_foreign_file_is_broken(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(BrokenImage, match=r"\S"):
        open_image(path)


def test_damage_anywhere_in_a_file_raises_nothing_but_broken_image(tmp_path):
    rng = np.random.default_rng(0)
    for suffix in ("png", "jpg", "webp", "bmp", "tif", "gif"):
        path = tmp_path / f"a.{suffix}"
        noise(16, 16).save(path)
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        broken = 0
        for _ in range(100):
            damaged = whole.copy()
            damaged[rng.integers(min(len(whole), 300), size=4)] = rng.integers(256, size=4)
            path.write_bytes(damaged.tobytes())
            with warnings.catch_warnings(action="ignore"):
                try:
                    open_image(path)
                except BrokenImage:
                    broken += 1
        assert broken, suffix


def test_a_file_of_another_format_is_not_run_through_its_decoder(tmp_path):
    path = tmp_path / "a.png"
    noise(8, 8).save(path, format="EPS")
    with pytest.raises(BrokenImage, match="no image of PNG, JPEG"):
        open_image(path)


def test_a_missing_file_and_a_folder_are_broken_images(tmp_path):
    for path, reason in ((tmp_path / "gone.png", "No such file"), (tmp_path, "directory|denied")):
        with pytest.raises(BrokenImage, match=reason):
            open_image(path)


def test_a_decompression_bomb_is_broken(tmp_path):
    path = tmp_path / "a.png"
    Image.new("1", (15000, 15000)).save(path)
    with pytest.raises(BrokenImage, match="decompression bomb"):
        open_image(path)


def test_pillows_settings_are_left_alone(tmp_path):
    path = tmp_path / "a.png"
    noise(8, 8).save(path)
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    open_image(path)
    after = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    assert after == before


def test_without_buckets_the_crop_is_the_square():
    assert crop_size(4000, 3000, 1024, buckets=False) == (1024, 1024)
    assert crop_size(10, 3000, 512, buckets=False, multiple=64) == (512, 512)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (1000, 1000, (1024, 1024)),
        (4000, 3000, (1184, 880)),
        (3000, 4000, (880, 1184)),
        (1920, 1080, (1360, 768)),
        (9000, 1000, (1440, 736)),
        (1, 9000, (736, 1440)),
    ],
)
def test_buckets_of_known_images(width, height, size):
    assert crop_size(width, height, 1024, buckets=True) == size


sides = st.integers(1, 20000)


@given(sides, sides, st.integers(4, 24), st.sampled_from([8, 16, 32, 64]))
def test_a_bucket_is_allowed_mirrored_and_never_further_than_the_square(
    width, height, steps, multiple
):
    resolution = steps * multiple
    wide, high = crop_size(width, height, resolution, True, multiple)
    assert wide % multiple == 0
    assert high % multiple == 0
    assert max(wide, high) <= 2 * min(wide, high)
    # the short side is rounded to a multiple: at most half of one off
    assert abs(wide * high - resolution**2) <= multiple / 2 * max(wide, high)
    ratio = math.log(width / height)
    assert abs(math.log(wide / high) - ratio) <= abs(ratio) + 1e-12
    if width != height:
        assert crop_size(height, width, resolution, True, multiple) == (high, wide)


@pytest.mark.parametrize("resolution", [1000, 8, 0, -16])
def test_a_resolution_that_is_no_multiple_is_refused(resolution):
    with pytest.raises(LokrWeightingError, match="must be a multiple of 16 pixels"):
        crop_size(100, 100, resolution, buckets=True)


def test_the_refusal_of_a_resolution_names_the_nearest_ones():
    with pytest.raises(LokrWeightingError, match="for example 992 or 1008"):
        crop_size(100, 100, 1000, buckets=False)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 9), st.integers(1, 9))
def test_a_crop_has_the_size_asked_for(width, height, wide, high):
    size = (wide * 16, high * 16)
    crop = random_crop(Image.new("RGB", (width, height), RED), size, np.random.default_rng(0))
    assert crop.size == size
    assert (np.asarray(crop) == RED).all()


@pytest.mark.parametrize("size", [(64, 64), (96, 48), (48, 96), (512, 512)])
@pytest.mark.parametrize("seed", range(3))
def test_a_crop_is_what_resizing_first_and_cropping_then_gives(size, seed):
    image = noise(257, 150)
    crop = random_crop(image, size, np.random.default_rng(seed))
    scale = max(size[0] / 257, size[1] / 150)
    whole = image.resize((round(257 * scale), round(150 * scale)), Image.Resampling.LANCZOS)
    rng = np.random.default_rng(seed)
    left = int(rng.integers(whole.width - size[0] + 1))
    top = int(rng.integers(whole.height - size[1] + 1))
    expected = whole.crop((left, top, left + size[0], top + size[1]))
    assert np.abs(np.asarray(crop, int) - np.asarray(expected, int)).max() <= 2


def test_the_same_state_gives_the_same_crop_and_another_another():
    image = noise(200, 100)
    crops = [
        np.asarray(random_crop(image, (64, 64), np.random.default_rng(seed))) for seed in (1, 1, 2)
    ]
    assert np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])


def test_crops_reach_both_ends_of_an_image():
    gray = np.repeat(np.arange(96, dtype=np.uint8)[None], 32, axis=0)
    image = Image.fromarray(gray).convert("RGB")
    rng = np.random.default_rng(0)
    firsts = {int(np.asarray(random_crop(image, (32, 32), rng))[0, 0, 0]) for _ in range(1000)}
    assert firsts == set(range(65))


def test_a_very_long_image_is_cropped_in_little_memory():
    crop = random_crop(Image.new("RGB", (1, 60000), RED), (1024, 1024), np.random.default_rng(0))
    assert crop.size == (1024, 1024)


def test_cropping_leaves_the_image_alone():
    image = noise(60, 40)
    random_crop(image, (32, 32), np.random.default_rng(0))
    assert np.array_equal(np.asarray(image), np.asarray(noise(60, 40)))


def test_an_array_is_channels_first_between_minus_one_and_one():
    image = Image.new("RGB", (3, 2), (0, 255, 51))
    array = to_array(image)
    assert array.dtype == np.float32
    assert array.shape == (3, 2, 3)
    assert array.flags["C_CONTIGUOUS"]
    assert np.allclose(array[:, 0, 0], [-1, 1, -0.6])
