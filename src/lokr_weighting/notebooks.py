"""How things are shown in a notebook.

What is drawn and how is the wing `show`'s concern, which lies above all that is shown: so it is
asked for by name, when a notebook asks, and nothing below imports it.
"""

from importlib import import_module

from lokr_weighting.errors import LokrWeightingError

DRAWING = "lokr_weighting.show.notebook"


class ShownInNotebooks:
    """Has figures and tables in a notebook; what cannot be drawn is shown by its `repr`."""

    def _repr_html_(self) -> str | None:
        try:
            return import_module(DRAWING).html_of(self)
        except LokrWeightingError:
            return None
