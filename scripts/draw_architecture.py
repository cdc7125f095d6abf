"""Draw the wings of the package and the imports between them into docs/architecture.md.

Run: python scripts/draw_architecture.py
"""

from pathlib import Path

import grimp

PACKAGE, PLUGIN = "lokr_weighting", "lokr_weighting_simpletuner"
DOCUMENT = Path(__file__).parents[1] / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by scripts/draw_architecture.py -->\n", "<!-- end of the drawing -->\n"


def arrows() -> dict[tuple[str, str], int]:
    """How many imports go from one wing to another; the foundations are left out."""
    graph = grimp.build_graph(PACKAGE, PLUGIN, cache_dir=None, exclude_type_checking_imports=True)
    wings = {
        module.removeprefix(f"{PACKAGE}.")
        for module in graph.find_children(PACKAGE)
        if graph.find_children(module)
    }
    counts: dict[tuple[str, str], int] = {}
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            pair = _wing_of(importer), _wing_of(imported)
            if pair[0] != pair[1] and pair[0] in {*wings, "plugin"} and pair[1] in wings:
                counts[pair] = counts.get(pair, 0) + 1
    return counts


def drawing() -> str:
    """The arrows as a mermaid chart; those that a longer way implies are left out."""
    counts = arrows()
    shown = sorted(pair for pair in counts if not _implied(pair, set(counts)))
    lines = [f"  {importer} --> {imported}" for importer, imported in shown]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"]) + "\n"


def with_drawing(text: str) -> str:
    """The document with the drawing of today."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{drawing()}{END}{after}"


def _wing_of(module: str) -> str:
    package, _, inside = module.partition(".")
    return "plugin" if package == PLUGIN else inside.partition(".")[0]


def _implied(pair: tuple[str, str], arrows: set[tuple[str, str]]) -> bool:
    """Whether there is another way from one to the other."""
    importer, imported = pair
    seen, left = set[str](), [to for of, to in arrows if of == importer and to != imported]
    while left:
        wing = left.pop()
        if wing == imported:
            return True
        if wing not in seen:
            seen.add(wing)
            left += [to for of, to in arrows if of == wing]
    return False


if __name__ == "__main__":
    DOCUMENT.write_text(with_drawing(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"Wrote {DOCUMENT}")
