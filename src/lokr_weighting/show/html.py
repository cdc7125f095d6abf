"""Pages in one file, without network, for screen and print."""

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata, resources
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from lokr_weighting.show.cells import Grid, areas


def render(template: str, *, grids: Mapping[str, Grid] | None = None, **values: Any) -> str:
    """A page of one of this wing's templates.

    The browser runs the page's own script alone (it sorts tables and shows cells), and fetches
    nothing: its content security policy says so.

    Args:
        template: the template's file.
        grids: the numbers behind the figures' cells, by name.
        values: what the template shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lokr_weighting", "show"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    script = resources.files("lokr_weighting.show").joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        version=metadata.version("lokr-weighting"),
        script=Markup(script),
        script_hash=Markup(f"sha256-{digest}"),
        grids={name: asdict(grid) for name, grid in (grids or {}).items()},
        **values,
    )


def drawing(
    figure: Figure, name: str, title: str, caption: str, grids: Mapping[str, Grid] | None = None
) -> dict[str, Any]:
    """A figure as the template's `drawing` takes it.

    Args:
        figure: the figure.
        name: its own on the page.
        title: what it shows.
        caption: what to see in it.
        grids: the page's; those that the labels of the figure's axes name lie on it.
    """
    element = svg(figure, name, title)
    return {
        "title": title,
        "caption": caption,
        "svg": element,
        "areas": areas(figure, grids or {}),
    }


def svg(figure: Figure, name: str, title: str) -> Markup:
    """A figure as an <svg> element, its text as text; the same text each time.

    Args:
        figure: the figure.
        name: its own on the page: ids are made of it.
        title: what it is called by a screen reader.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    named = Markup('<svg role="img" aria-label="{}"').format(title)
    return Markup(named + Markup(text[text.index("<svg") + len("<svg") :]))
