"""What is published installs into an empty environment, complete, and runs there."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import lokr_weighting
from lokr_weighting.models.table import family_files
from tests.documents import ROOT

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    """Run a command that sees nothing of this checkout; its output."""
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=outside, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel that is built from it and nothing else."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--installer", "uv", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment with the wheel; it finds the dependencies in this one's."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    programs = folder / "bin"
    install = (sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps")
    run(*install, "--python", programs / "python", *dist.glob("*.whl"), cwd=folder)
    print_own = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = Path(run(programs / "python", "-c", print_own, cwd=folder).strip())
    # a folder that a .pth names comes last, and its own .pth files (this checkout's) do not count
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return programs


def test_the_wheel_holds_every_file_of_the_package_and_none_of_the_tests(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    roots = (ROOT / "src", ROOT / "plugin")
    own = {
        str(file.relative_to(root))
        for root in roots
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and ".egg-info" not in str(file)
    }
    assert packed == own
    assert {"lokr_weighting/py.typed", "lokr_weighting/measurements/sd3.5-large.json"} < packed


def test_the_sdist_holds_what_the_documents_and_tests_call(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    for name in ("README.md", "LICENSE", "Makefile", "mkdocs.yml", "tests/conftest.py"):
        assert name in names
    for script in (ROOT / "scripts").glob("*.py"):
        assert f"scripts/{script.name}" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_installed_command_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    program = installed / "lokr-weighting"
    where = "import lokr_weighting; print(lokr_weighting.__file__)"
    assert str(installed.parent) in run(installed / "python", "-c", where, cwd=tmp_path)
    assert run(program, "--version", cwd=tmp_path).strip() == lokr_weighting.__version__
    table = run(program, "families", cwd=tmp_path)
    assert all(row.name in table for row in family_files())
    assert "One factor for all" in run(program, "sizes", "digits", cwd=tmp_path)
    run(program, "plan", "--reference", "sd3.5-large", "--no-read-back", cwd=tmp_path)
    assert (tmp_path / "peft_config.json").is_file()
