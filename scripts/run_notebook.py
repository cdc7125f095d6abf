"""Run a notebook from top to bottom and keep its results, without what it says on the way.

    python scripts/run_notebook.py examples/digits.ipynb

The notebook is written anew with what its cells show; warnings and bars are left out.
"""

import argparse
from pathlib import Path

import nbclient
import nbformat

SECONDS = 1800  # for one cell, on a machine that others use too
LEFT_OUT = ("image/jpeg",)
"""What a picture is shown as beside its PNG."""


def executed(notebook: Path) -> nbformat.NotebookNode:
    """A notebook with the results of a run in its own folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    node = nbformat.read(notebook, as_version=4)
    place = {"metadata": {"path": str(notebook.parent)}}
    nbclient.NotebookClient(node, timeout=SECONDS, resources=place).execute()
    node.metadata.language_info = {"name": "python"}
    for cell in node.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.output_type != "stream"]
            for each in cell.outputs:
                for kind in LEFT_OUT:
                    each.data.pop(kind, None)
    return node


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("notebook", type=Path)
    given = parser.parse_args().notebook
    nbformat.write(executed(given), given)
    print(f"Wrote {given}: {given.stat().st_size:,} bytes")
