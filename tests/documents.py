"""The documents and what is written in them as code."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "example_configs").rglob("*.md"))
)
HISTORY = ROOT / "CHANGELOG.md"
"""Says what commands were called once."""
SHELL = ("", "bash", "sh", "shell", "console")
FENCE = re.compile(r"^(?:```|~~~)(\w*)[^\n]*\n(.*?)^(?:```|~~~)", re.DOTALL | re.MULTILINE)


def fenced(document: Path, *languages: str) -> Iterator[str]:
    """A document's blocks of code in these languages; "" is a block that names none."""
    for match in FENCE.finditer(document.read_text(encoding="utf-8")):
        if match[1] in languages:
            yield match[2]


def shell_lines(document: Path) -> Iterator[str]:
    """Every command of a document's shell blocks, what is continued joined, without remarks."""
    for block in fenced(document, *SHELL):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"(^|\s)#.*$", "", line).strip().removeprefix("$ ")
            if command:
                yield command


def inline(document: Path) -> Iterator[str]:
    """What a document writes as code inside its sentences, on one line."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    yield from re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
