"""Write docs/families.md, the table of families.

Run: python scripts/write_families.py
"""

from pathlib import Path

from lokr_weighting.show.families import families_page, family_rows

PAGE = Path(__file__).parents[1] / "docs" / "families.md"


if __name__ == "__main__":
    PAGE.write_text(families_page(family_rows()), encoding="utf-8")
    print(f"Wrote {PAGE}")
