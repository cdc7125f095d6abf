"""The numbers behind a figure's cells, for a page that shows them under the pointer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Grid:
    """What to say of each cell of a heatmap, or of each bar of a bar chart.

    Attributes:
        title: what the cells show.
        columns: what each column is, from left to right.
        rows: what each row is, in the order of the drawn array; a bar chart has one.
        cells: what to say of each cell, rows x columns.
        notes: what else to say of each column; empty where there is nothing.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[str]
    cells: Sequence[Sequence[str]]
    notes: Sequence[str]


@dataclass(frozen=True)
class Area:
    """Where a grid's cells lie on a figure, in percent of its width and height from the top left.

    Attributes:
        grid: the grid's name.
        flipped: whether the first row is at the bottom.
    """

    grid: str
    left: float
    top: float
    width: float
    height: float
    flipped: bool


def areas(figure: Figure, grids: Mapping[str, Grid]) -> list[Area]:
    """Where the grids lie on a figure that was saved, and so is laid out.

    Args:
        figure: the figure; the label of an axes is its grid's name.
        grids: the grids by name.
    """
    found = []
    for ax in figure.axes:
        name = str(ax.get_label())
        if name not in grids:
            continue
        columns, rows = len(grids[name].columns), len(grids[name].rows)
        across = (-0.5, columns - 0.5)
        # an image's cells are one unit high; bars take the whole height of their axes
        upwards = (-0.5, rows - 0.5) if ax.images else ax.get_ylim()
        corners = [(across[0], upwards[0]), (across[1], upwards[1])]
        shares = figure.transFigure.inverted().transform(ax.transData.transform(corners))
        left, right = sorted(100 * shares[:, 0])
        bottom, top = sorted(100 * shares[:, 1])
        found.append(
            Area(name, left, 100 - top, right - left, top - bottom, not ax.yaxis_inverted())
        )
    return found
