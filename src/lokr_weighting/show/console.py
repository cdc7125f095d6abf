"""Where tables are printed."""

import io

from rich.console import Console, RenderableType

PIPE_WIDTH = 160


def console(*, stderr: bool = False) -> Console:
    """A console that, where it is not a terminal, still gives tables room."""
    own = Console(stderr=stderr, highlight=False)
    return own if own.is_terminal else Console(stderr=stderr, highlight=False, width=PIPE_WIDTH)


def as_text(table: RenderableType) -> str:
    """A table as plain lines, for a log."""
    out = Console(file=io.StringIO(), highlight=False, width=PIPE_WIDTH, color_system=None)
    with out.capture() as captured:
        out.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
