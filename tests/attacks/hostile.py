"""What the attacks share: what a refusal looks like, and files that no reader should believe."""

import json
from pathlib import Path
from typing import Any

from tests.conftest import Run

DEEP, DIGITS = "[" * 3000 + "]" * 3000, "1" * 5000


def refused_in_one_line(run: Run, message: str) -> None:
    """One line, behind the bar of what had begun to load."""
    assert run.code == 2, run.err
    *before, line = run.err.splitlines()
    assert all(each.startswith("loading ") for each in before)
    assert line.startswith("error: ")
    assert message in line
    assert len(line) < 3000


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, to see whether something was written."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def change_json(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
