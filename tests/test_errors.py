"""Every message of an error is quoted by some test: in so many words, it was seen."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ERRORS = {"LokrWeightingError", "OutputError", "BrokenImage", "ValueError"}
SHORTEST = 10  # letters of a phrase


def _strings(node: ast.AST) -> Iterator[str]:
    """The literal parts of a text, however it is put together."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        for part in node.values:
            yield from _strings(part)
    elif isinstance(node, ast.BinOp):
        yield from (*_strings(node.left), *_strings(node.right))
    elif isinstance(node, ast.IfExp):
        yield from (*_strings(node.body), *_strings(node.orelse))


def _messages() -> Iterator[tuple[str, list[str]]]:
    """Where each error is made, and its message's literal parts."""
    for file in sorted((*(ROOT / "src").rglob("*.py"), *(ROOT / "plugin").rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                parts = [*_strings(node.args[0])]
                if node.func.id in ERRORS and any(map(_phrases, parts)):
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", parts


def _phrases(text: str) -> set[str]:
    """From every word on the fewest words that are no coincidence, two at least."""
    words = [*re.finditer(r"\w+", text)]
    phrases = set()
    for number, word in enumerate(words):
        ends = (each.end() for each in words[number + 1 :])
        end = next((end for end in ends if end - word.start() >= SHORTEST), None)
        if end is not None:
            phrases.add(text[word.start() : end])
    return phrases


def _quoted() -> str:
    """All that the tests quote, regular expressions without their backslashes."""
    files = (file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py"))
    return "\n".join(
        re.sub(r"\\(\W)", r"\1", node.value)
        for file in files
        for node in ast.walk(ast.parse(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_every_message_is_quoted_by_a_test() -> None:
    quoted = _quoted()
    messages = [*_messages()]
    assert len(messages) > 200
    unseen = [
        f"{where}: {' ... '.join(parts)}"
        for where, parts in messages
        if not any(phrase in quoted for part in parts for phrase in _phrases(part))
    ]
    assert unseen == []
