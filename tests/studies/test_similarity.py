import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lokr_weighting import Job, LokrWeightingError, Stop, calibrate_folder
from lokr_weighting.records import Record
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.pairs import Pairs
from lokr_weighting.records.store import RECORDS, SIMILARITY
from lokr_weighting.show.study_figures import similarity_figure
from lokr_weighting.studies.similarity import similarity_of
from tests.conftest import Run
from tests.tiny_pipelines import KINDS

Cli = Callable[..., Run]
SHORT = Stop(samples=20)


def made_up(image: np.ndarray, text: np.ndarray, blocks: tuple[str, ...]) -> Calibration:
    """A calibration whose samples have these pairs, (samples, pairs), two samples a bin."""
    records = []
    for i, (a, b) in enumerate(zip(image, text, strict=True)):
        record = Record(
            timestep=(i % 10 + 0.5) / 10, hidden_states=[0.1], encoder_hidden_states=[], sample=i
        )
        records.append(record.with_pairs(Pairs(a, b)))
    return Calibration({"bins": 10, "model": "made up"}, blocks, tuple(records))


def test_the_matrix_is_the_mean_over_bins_with_its_standard_error() -> None:
    rng = np.random.default_rng(0)
    image, text = rng.uniform(0.5, 1, (2, 40, 3))
    text[:, 1:] = np.nan  # block 2 hands no text on
    found = similarity_of(made_up(image, text, ("a.0", "a.1", "a.2")))
    assert found.image[2, 1] == found.image[1, 2] == pytest.approx(image[:, 2].mean())
    assert np.diag(found.image).tolist() == [1, 1, 1]
    assert found.text[0, 1] == pytest.approx(text[:, 0].mean())
    assert np.isnan(found.text[2]).all()
    of_bin = image[:, 1].reshape(4, 10).T
    error = np.sqrt((of_bin.var(axis=1, ddof=1) / 4).sum()) / 10
    assert found.image_error is not None
    assert found.image_error[2, 0] == pytest.approx(error)
    assert [(each.stream, each.groups[0].last) for each in found.groupings] == [
        ("image", 2),
        ("text", 1),
    ]


def test_blocks_without_a_stream_are_in_no_group_and_drawn_as_missing() -> None:
    """A block of text alone, one of image alone, and two of both."""
    rng = np.random.default_rng(0)
    image, text = rng.uniform(0.5, 1, (2, 40, 6))
    image[:, [0, 1, 3]] = np.nan  # all pairs of block 0
    text[:, [0, 2, 4]] = np.nan  # all pairs of block 1
    found = similarity_of(made_up(image, text, ("text.0", "image.0", "both.0", "both.1")))
    assert np.isnan(found.image).all(axis=0).tolist() == [True, False, False, False]
    assert np.isnan(found.text).all(axis=0).tolist() == [False, True, False, False]
    assert {(each.path, each.stream) for each in found.groupings} == {
        ("image", "image"),
        ("both", "image"),
        ("text", "text"),
        ("both", "text"),
    }
    data = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert data["image"][0] == [None] * 4
    shown = similarity_figure(found).axes[0].images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[0].all()


def test_blocks_that_share_no_stream_are_refused() -> None:
    missing = np.full((20, 1), np.nan)
    with pytest.raises(LokrWeightingError, match="no two blocks have a stream in common"):
        similarity_of(made_up(missing, missing, ("text.0", "image.0")))


def test_each_list_of_blocks_has_its_own_groups() -> None:
    """Flux's single blocks in four groups, two of them in the middle; its double blocks in one."""
    sizes = {"transformer_blocks": [5], "single_transformer_blocks": [2, 8, 6, 3]}
    blocks = [f"{path}.{i}" for path, each in sizes.items() for i in range(sum(each))]
    group_of = np.repeat(np.arange(5), [size for each in sizes.values() for size in each])
    matrix = np.where(group_of[:, None] == group_of, 0.95, 0.3)
    pairs = matrix[np.tril_indices(len(blocks), -1)]
    rng = np.random.default_rng(0)
    image = (pairs + rng.normal(0, 0.01, (20, len(pairs)))).clip(-1, 1)
    found = similarity_of(made_up(image, np.full_like(image, np.nan), tuple(blocks)))
    assert [(path, first, last, name) for path, first, last, name in found.groups_of("image")] == [
        ("transformer_blocks", 0, 4, "all"),
        ("single_transformer_blocks", 5, 6, "first"),
        ("single_transformer_blocks", 7, 14, "middle 1"),
        ("single_transformer_blocks", 15, 20, "middle 2"),
        ("single_transformer_blocks", 21, 23, "last"),
    ]
    assert found.groups_of("text") == []
    figure = similarity_figure(found)
    frames = [patch for patch in figure.axes[0].patches if patch.get_edgecolor()[:3] == (0, 0, 0)]
    assert [frame.get_bbox().bounds for frame in frames] == [  # pyright: ignore
        (first - 0.5, first - 0.5, last - first + 1, last - first + 1)
        for _, first, last, _ in found.groups_of("image")
    ]


@pytest.mark.parametrize(
    "kind",
    ["sd3", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "sd3")],
)
def test_one_option_gathers_it_and_one_command_shows_it(
    kind: str, pipelines: Callable[[str], Path], images: Path, cli: Cli, tmp_path: Path
) -> None:
    model = ("--model", pipelines(kind), "--data", images, "--resolution", 64)
    done = cli("calibrate", *model, "--samples", 20, "--similarity", "-o", "c")
    assert done.code == 0, done.err
    done = cli("similarity", "c")
    assert done.code == 0, done.err
    assert "Groups of blocks that point the same way" in done.out
    found = json.loads((tmp_path / "similarity" / "similarity.json").read_text())
    matrix, text = np.array(found["image"]), np.array(found["text"], dtype=float)
    assert np.array_equal(matrix, matrix.T)
    assert np.diag(matrix).tolist() == [1] * len(matrix)
    assert (abs(matrix) <= 1).all()
    without_text = np.isnan(text).all(axis=0)
    assert without_text[:-1].sum() == 0
    assert without_text[-1] == kind.startswith("sd3")
    with Image.open(tmp_path / "similarity" / "similarity.png") as image:
        assert image.width > 800
    done = cli("similarity", "c", "--json")
    assert done.json == found


@pytest.mark.slow
def test_the_report_shows_it(
    pipelines: Callable[[str], Path], images: Path, cli: Cli, tmp_path: Path
) -> None:
    job = Job(str(pipelines("flux")), images, resolution=64)
    calibrate_folder(job, tmp_path / "c", stop=SHORT, similarity=True)
    done = cli("report", "c")
    assert done.code == 0, done.err
    page = (tmp_path / "report.html").read_text()
    assert "Which blocks share a representation" in page
    assert "<h2>Groups of blocks</h2>" in page
    assert "single_transformer_blocks, text stream: " in page
    assert (tmp_path / "report.figures" / "similarity.svg").exists()


def test_what_a_calibration_lacks_is_measured_when_it_is_asked_for(
    pipelines: Callable[[str], Path], images: Path, cli: Cli, tmp_path: Path
) -> None:
    job = Job(str(pipelines("flux")), images, resolution=64)
    calibrate_folder(job, tmp_path / "late", stop=SHORT)
    records = (tmp_path / "late" / RECORDS).read_bytes()
    done = cli("similarity", "late")
    assert done.code == 2
    assert "late: was measured without similarity; run the same calibrate" in done.err
    calibrate_folder(job, tmp_path / "late", stop=SHORT, similarity=True)
    calibrate_folder(job, tmp_path / "early", stop=SHORT, similarity=True)
    assert (tmp_path / "late" / RECORDS).read_bytes() == records
    early, late = ((tmp_path / name / SIMILARITY).read_bytes() for name in ("early", "late"))
    assert early == late
    assert late.count(b"\n") == 20
    # and it is still there where a calibration goes on without asking for it
    more, _ = calibrate_folder(job, tmp_path / "late", stop=Stop(samples=25))
    assert len(more.records) == 25
    assert similarity_of(more).samples == 20


def test_cut_short_anywhere_it_is_resumed_to_the_same_bytes(
    pipelines: Callable[[str], Path], images: Path, tmp_path: Path
) -> None:
    job = Job(str(pipelines("sd3")), images, resolution=64)
    whole = tmp_path / "whole"
    calibrate_folder(job, whole, stop=SHORT, similarity=True)
    lines = {name: (whole / name).read_bytes().splitlines(True) for name in (RECORDS, SIMILARITY)}
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    (cut / "calibration.json").unlink()
    # killed after sample 8's similarity was written, and in the middle of the next sample's
    (cut / SIMILARITY).write_bytes(b"".join(lines[SIMILARITY][:9]) + lines[SIMILARITY][9][:30])
    (cut / RECORDS).write_bytes(b"".join(lines[RECORDS][:8]))
    calibrate_folder(job, cut, stop=SHORT, similarity=True)
    for name in lines:
        found = (cut / name).read_bytes().splitlines(True)
        assert found == lines[name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), "nowhere: holds no calibration"),
        (("empty",), "empty: holds no calibration"),
        (("nowhere", "-o", "file"), "file: is a file; give a folder's name"),
    ],
)
def test_a_mistake_is_one_clear_line(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    done = cli("similarity", *arguments)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "similarity").exists()


def test_a_calibration_in_memory_without_it_says_so() -> None:
    calibration = made_up(np.ones((20, 1)), np.ones((20, 1)), ("a.0", "a.1"))
    bare = tuple(record.model_copy(update={}) for record in calibration.records)
    for record in bare:
        record._pairs = None
    with pytest.raises(LokrWeightingError, match="the calibration: was measured without"):
        similarity_of(Calibration(calibration.settings, calibration.blocks, bare))


def test_a_calibration_that_does_not_say_its_bins_is_refused() -> None:
    calibration = made_up(np.ones((20, 1)), np.ones((20, 1)), ("a.0", "a.1"))
    without = Calibration({"model": "m"}, calibration.blocks, calibration.records)
    with pytest.raises(LokrWeightingError, match="its settings do not say its bins"):
        similarity_of(without)
