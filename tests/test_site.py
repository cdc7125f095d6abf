"""The documentation site is whole, and needs nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import lokr_weighting
from lokr_weighting.cli import COMMANDS
from lokr_weighting.targets import lora, lycoris, peft
from lokr_weighting.targets.registry import FORMATS
from tests.documents import ROOT
from tests.inputs import imported

WINGS = {"plan", "records"}
ELSEWHERE = re.compile(r"<(?:script|img|link|iframe)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]*\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as in CI; whoever asks the network gets no answer."""
    folder = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_it_is_built_without_a_warning_and_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert {"index", "getting-started", "sizes", "api"} < {page.stem for page in pages}
    for page in pages:
        assert not ELSEWHERE.findall(page.read_text(encoding="utf-8")), page
    assert (site / "pictures" / "sd3.5-large-120M.png").is_file()
    assert (site / "source" / "example_configs" / "peft" / "train_lokr.py").is_file()


@pytest.mark.slow
def test_every_public_name_is_described(site: Path) -> None:
    page = (site / "api.html").read_text(encoding="utf-8")
    stub = (ROOT / "src" / "lokr_weighting" / "__init__.pyi").read_text(encoding="utf-8")
    names = {*re.findall(r"import \w+ as (\w+)$", stub, re.MULTILINE)} - WINGS
    assert {"calibrate", "make_plan", "similarity_of"} < names
    for name in names:
        assert f'id="lokr_weighting.{name}"' in page, name
    for module in (lycoris, peft):
        for name in module.__all__:
            assert f'id="{module.__name__}.{name}"' in page, name
    assert f'id="{lora.__name__}.lora_config"' in page


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    return imported(ROOT / "scripts" / "site_hooks.py")


@pytest.mark.parametrize(
    ("page", "written", "becomes"),
    [
        ("index.md", "[a](docs/plan.md#files)", "[a](plan.md#files)"),
        ("index.md", "![a](docs/digits/loss.svg)", "![a](digits/loss.svg)"),
        ("peft.md", "[a](../README.md)", "[a](index.md)"),
        ("peft.md", "[a](plan.md)", "[a](plan.md)"),
        ("peft.md", "[a](../scripts/soak.py)", "[a](source/scripts/soak.py)"),
        (
            "simpletuner.md",
            "[a](../example_configs/simpletuner)",
            "[a](source/example_configs/simpletuner/README.md)",
        ),
        ("peft.md", "[a](nothing.md)", "[a](nothing.md)"),
        (
            "peft.md",
            "[a](https://arxiv.org/abs/2309.14859)",
            "[a](https://arxiv.org/abs/2309.14859)",
        ),
        ("peft.md", "```\n[a](../README.md)\n```\n", "```\n[a](../README.md)\n```\n"),
    ],
)
def test_links_out_of_the_documents_lead_into_the_site(
    hooks: ModuleType, page: str, written: str, becomes: str
) -> None:
    assert hooks.with_links(written, page) == becomes


def test_every_command_and_format_has_its_row() -> None:
    commands = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"| `{command.__name__}" in commands
    formats = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    for name in FORMATS:
        assert f"| `{name}`" in formats


def test_the_readmes_picture_is_of_todays_plan() -> None:
    draw = imported(ROOT / "scripts" / "draw_readme.py")
    figure = draw.picture()
    plan = lokr_weighting.make_plan(
        lokr_weighting.load_reference(draw.MODEL), draw.MODEL, budget=draw.BUDGET
    )
    bars = [bar.get_height() for bar in figure.axes[4].patches]
    assert bars == [plan.parameters_of(i) / 1e6 for i in range(len(plan.blocks))]
    assert draw.PICTURE.is_file()
