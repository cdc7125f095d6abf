"""Write the module trees of the known models, from the real diffusers classes.

Run: python scripts/write_skeletons.py
"""

from pathlib import Path

import lokr_weighting.models
from lokr_weighting.models.known import SHIPPED, empty_transformer
from lokr_weighting.models.skeleton import dump_skeleton, skeleton_of
from lokr_weighting.models.table import checkpoints


def main() -> None:
    """Write one file for each known model into the package."""
    folder = Path(lokr_weighting.models.__file__).parent / "skeletons"
    folder.mkdir(exist_ok=True)
    for name in (*SHIPPED, *checkpoints()):
        text = dump_skeleton(skeleton_of(empty_transformer(name)))
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
        print(f"{name}: {len(text):,} bytes")


if __name__ == "__main__":
    main()
