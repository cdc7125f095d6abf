from pathlib import Path

import av
import numpy as np
import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.data import videos
from lokr_weighting.data.folder import find_images
from lokr_weighting.data.images import BrokenImage
from lokr_weighting.data.videos import first_frames, whole_frames
from tests.data.test_folder import captions, jsonl, picture
from tests.videos import shown, video


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "avi"])
def test_the_first_frames_are_those_of_the_file_in_their_order(tmp_path: Path, suffix: str) -> None:
    file = video(tmp_path / f"a.{suffix}", frames=6)
    frames = [np.asarray(frame).astype(int) for frame in first_frames(file, 4)]
    assert len(frames) == 4
    for number, frame in enumerate(frames):
        assert np.abs(frame - shown(number, 96, 64)).mean() < 3
    assert len(list(first_frames(file, 100))) == 6


@pytest.mark.parametrize(("turned", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_a_video_that_is_shown_turned_is_turned(tmp_path: Path, turned: int, turns: int) -> None:
    [frame] = first_frames(video(tmp_path / "a.mp4", frames=3, turned=turned), 1)
    expected = np.rot90(shown(0, 96, 64), turns)
    assert np.asarray(frame).shape == expected.shape
    assert np.abs(np.asarray(frame).astype(int) - expected).mean() < 3


def test_frames_are_cut_to_what_a_vae_takes() -> None:
    assert [whole_frames(count, 4) for count in (1, 4, 5, 8, 9, 25)] == [1, 1, 5, 5, 9, 25]
    assert [whole_frames(count, 8) for count in (1, 8, 9, 25)] == [1, 1, 9, 25]
    assert whole_frames(7, 1) == 7


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video at all",
        # a list of addresses, which decoders would fetch
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.mkv\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile other.mkv\n",
    ],
)
def test_what_is_no_video_is_broken(tmp_path: Path, content: bytes) -> None:
    video(tmp_path / "other.mkv", frames=2)
    file = tmp_path / "a.mp4"
    file.write_bytes(content)
    with pytest.raises(BrokenImage):
        list(first_frames(file, 2))


def test_a_video_that_is_cut_short_is_broken(tmp_path: Path) -> None:
    file = video(tmp_path / "a.mp4", frames=6)
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(BrokenImage):
        list(first_frames(file, 2))


@pytest.mark.parametrize(
    ("shows", "message"), [(False, "holds no video"), (True, "holds no frames")]
)
def test_a_file_of_sound_alone_says_so(tmp_path: Path, shows: bool, message: str) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        if shows:
            silent = container.add_stream("ffv1", rate=8)
            silent.width, silent.height, silent.pix_fmt = 96, 64, "yuv420p"
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(BrokenImage, match=message):
        next(first_frames(tmp_path / "sound.mkv", 2))


def test_larger_frames_than_can_be_decoded_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = video(tmp_path / "a.mkv", frames=2)
    monkeypatch.setattr(videos, "MOST_PIXELS", 96 * 64 - 1)
    with pytest.raises(BrokenImage, match="has frames of 96 x 64; at most 6,143 pixels"):
        next(first_frames(file, 2))


def test_videos_and_their_captions_are_found_for_models_of_videos(tmp_path: Path) -> None:
    for name in ("a", "c"):
        video(tmp_path / f"{name}.mp4", frames=1)
    picture(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text("a cat runs")
    jsonl(tmp_path / "metadata.jsonl", {"file_name": "c.mp4", "text": "a dog"})
    found = find_images(tmp_path, videos=True)
    assert captions(found) == {"a.mp4": ("a cat runs",), "b.png": ("",), "c.mp4": ("a dog",)}
    assert found.ignored == {}


def test_videos_are_named_as_ignored_for_models_of_images(tmp_path: Path) -> None:
    picture(tmp_path / "b.png")
    video(tmp_path / "c.MP4", frames=1)
    jsonl(tmp_path / "metadata.jsonl", {"file_name": "c.MP4", "text": "a dog"})
    found = find_images(tmp_path)
    assert captions(found) == {"b.png": ("",)}
    assert found.remarks[0] == (
        f"not read in {tmp_path}: 1 .mp4; videos are read for models of videos alone"
    )
    (tmp_path / "b.png").unlink()
    with pytest.raises(LokrWeightingError, match=r"1 \.mp4, .*; videos are read for models of"):
        find_images(tmp_path)


def test_videos_without_anything_that_reads_them_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video(tmp_path / "a.mp4", frames=1)
    monkeypatch.setattr(videos, "READER", "no_such_reader_of_videos")
    with pytest.raises(LokrWeightingError, match=r"holds 1 videos, and PyAV, which reads them, is"):
        find_images(tmp_path, videos=True)
