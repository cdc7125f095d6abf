"""Write docs/sizes.md, the table of factors, splits and sizes of the known models.

Run: python scripts/write_sizes.py
"""

from pathlib import Path

from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.models.table import checkpoints
from lokr_weighting.show.sizes import sizes_page

PAGE = Path(__file__).parents[1] / "docs" / "sizes.md"


def todays() -> str:
    """The page as the code gives it now."""
    return sizes_page({name: block_linears(load_skeleton(name)) for name in checkpoints()})


if __name__ == "__main__":
    PAGE.write_text(todays(), encoding="utf-8")
    print(f"Wrote {PAGE}")
