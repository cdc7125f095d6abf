import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from lokr_weighting_simpletuner.imports import after_import


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that can be imported, and is forgotten afterwards."""
    (tmp_path / "watched_module.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.delitem(sys.modules, "watched_module", raising=False)
    return "watched_module"


def seen(module: Any) -> None:
    module.value += 1


def test_the_hook_runs_after_the_module_and_only_once(package: str) -> None:
    after_import({package: seen})
    assert package not in sys.modules
    assert importlib.import_module(package).value == 2
    assert importlib.reload(sys.modules[package]).value == 1


def test_a_module_that_is_there_already_is_seen_at_once(package: str) -> None:
    importlib.import_module(package)
    after_import({package: seen})
    assert sys.modules[package].value == 2


def test_a_module_that_does_not_exist_stays_missing(package: str) -> None:
    after_import({"no_such_module": seen, package: seen})
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module")
