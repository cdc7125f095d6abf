"""What several tests need: the published files, small models, and the command line in-process."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from PIL import Image

# small tensors on shared cores: more threads than free cores only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")
# what is remembered of files stays out of the user's own cache
os.environ["LOKR_WEIGHTING_CACHE"] = tempfile.mkdtemp(prefix="lokr-weighting-cache-")

from lokr_weighting import Heatmaps
from lokr_weighting.cli import main
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.plan.splits import factor_ranges
from lokr_weighting.records.gains import Gains

# how long an example takes depends on what else runs
hypothesis.settings.register_profile("shared", deadline=None, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=10_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "shared"))

PUBLISHED = Path(__file__).parent / "published"


@pytest.fixture
def published_factors() -> list[int]:
    return json.loads((PUBLISHED / "sd35_large_factors.json").read_text())["factors"]


@pytest.fixture
def published_config() -> Path:
    return PUBLISHED / "sd35_large_peft_config.json"


def random_heatmaps(blocks: int, seed: int = 0, bins: int = 10, without_text: int = 1) -> Heatmaps:
    """Heatmaps of `blocks` blocks with lively numbers; the last `without_text` have no text."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.02, 0.3, blocks) + rng.uniform(0, 0.02, (bins, blocks))
    text = rng.uniform(0.02, 0.3, blocks) + rng.uniform(0, 0.02, (bins, blocks))
    if without_text:
        text[:, -without_text:] = np.nan
    return Heatmaps(image, text)


def random_gains(model: Skeleton, seed: int = 0) -> Gains:
    """Gains of every split, the finest first, without meaning."""
    rng = np.random.default_rng(seed)
    by_split = {}
    for linear in block_linears(model):
        ranges = factor_ranges(linear.out_features, linear.in_features)
        shares = np.sort(rng.random(len(ranges)))[::-1]
        by_split[linear.name] = tuple((rng.gamma(0.5) * shares).tolist())
    return Gains(40, by_split, {name: 2 * gains[0] for name, gains in by_split.items()})


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Tiny random pipelines, each built once."""
    # import diffusers, which not every test needs
    from tests import tiny_pipelines
    from tests.pipelines import build as further

    root = tmp_path_factory.mktemp("pipelines")

    def folder(kind: str) -> Path:
        path = root / kind
        room = tiny_pipelines if kind in tiny_pipelines.KINDS else further
        return path if path.exists() else room.build(kind, path)

    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight small images of several sizes, two captions each."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(8):
        pixels = rng.integers(0, 255, (64 + 8 * i, 100 - 4 * i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows += [{"file_name": f"{i}.png", "text": f"{word} circle {i}"} for word in ("a", "the")]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve handwritten digits with captions: what the digits model was trained on."""
    from tests.inputs import write_digits

    return write_digits(tmp_path_factory.mktemp("digits"), count=12)


@dataclass(frozen=True)
class Run:
    """What a run of the command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Run]:
    """Run `lokr-weighting ARGUMENTS` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["lokr-weighting", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        out, err = capsys.readouterr()
        return Run(code, out, err)

    return run
