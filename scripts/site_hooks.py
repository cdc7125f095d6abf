"""How mkdocs reads this repository: what docs/ links to outside of it becomes a part of the site.

Pages link as they must on a code host: README.md to docs/plan.md, docs/peft.md to
../example_configs/peft/train_lokr.py. Here README.md is the first page, and every file that a page
links to is carried along under source/. A link to what is not there stays, and mkdocs warns of it.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""Files beside docs/ that are pages -> their names in the site."""
SOURCE = "source"
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
FENCE = re.compile(r"^(```|~~~)")


def on_files(files: Files, config: "MkDocsConfig") -> Files:
    """Add the pages beside docs/, and what any page links to."""
    for name, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / name)))
    queue = [page.src_uri for page in files.documentation_pages()]
    while queue:
        for target in _targets(queue.pop()):
            uri = uri_of(target)
            if uri.startswith(f"{SOURCE}/") and uri not in files.src_uris:
                files.append(_carried(target, uri, config))
                queue += [uri] if uri.endswith(".md") else []
    return files


def _carried(path: str, uri: str, config: "MkDocsConfig") -> File:
    outside = InclusionLevel.NOT_IN_NAV
    return File.generated(config, uri, abs_src_path=str(ROOT / path), inclusion=outside)


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: Files) -> str:  # noqa: ARG001
    """The page with its links as they are in the site."""
    return with_links(markdown, page.file.src_uri)


def with_links(markdown: str, uri: str) -> str:
    """A page's text with the links that it has in the site.

    Args:
        markdown: its text.
        uri: its place in the site, e.g. "peft.md".
    """
    here = posixpath.dirname(uri)

    def link(match: re.Match[str]) -> str:
        target = _target(match[1], uri)
        return match[1] if target is None else posixpath.relpath(uri_of(target), here)

    return "".join(line if in_code else LINK.sub(link, line) for in_code, line in _lines(markdown))


def path_of(uri: str) -> str:
    """Where a page of the site lies in the repository."""
    beside = {page: name for name, page in PAGES.items()}
    if uri in beside:
        return beside[uri]
    return uri.removeprefix(f"{SOURCE}/") if uri.startswith(f"{SOURCE}/") else f"docs/{uri}"


def uri_of(path: str) -> str:
    """Where a file of the repository lies in the site."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{SOURCE}/{path}"


def _targets(uri: str) -> Iterator[str]:
    """What a page links to in the repository."""
    text = (ROOT / path_of(uri)).read_text(encoding="utf-8")
    for in_code, line in _lines(text):
        for match in LINK.finditer("" if in_code else line):
            if (target := _target(match[1], uri)) is not None:
                yield target


def _target(link: str, uri: str) -> str | None:
    """The file of the repository that a link leads to, of a folder its README; None if none."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(path_of(uri)), link))
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    return path if (ROOT / path).is_file() else None


def _lines(markdown: str) -> Iterator[tuple[bool, str]]:
    """Every line, and whether it is in a block of code."""
    in_code = False
    for line in markdown.splitlines(keepends=True):
        in_code ^= bool(fence := FENCE.match(line))
        yield in_code or bool(fence), line
