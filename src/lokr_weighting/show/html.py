"""Pages without network or scripts, for screen and print."""

import io
from importlib import metadata
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure


def render(template: str, **values: Any) -> str:
    """A page of one of this wing's templates."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lokr_weighting", "show"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    version = metadata.version("lokr-weighting")
    return environment.get_template(template).render(version=version, **values)


def svg(figure: Figure, name: str) -> Markup:
    """A figure as an <svg> element, its text as text; the same text each time.

    Args:
        figure: the figure.
        name: its own on the page: ids are made of it.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return Markup(text[text.index("<svg") :])
