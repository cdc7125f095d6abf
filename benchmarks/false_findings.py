"""How often the rules find something where there is nothing.

    python benchmarks/false_findings.py [REPEATS]

The published heatmaps of SD3.5-Large with their timesteps shuffled, each block's apart, where no
block can have a gradient, both ends or joint work; and with their blocks shuffled, where no stream
can have an island. The same with samples: made-up distances that do not depend on the timestep.
Prints the share of repeats in which a kind was found at all.
"""

import sys
from collections import Counter

import numpy as np

from lokr_weighting import Heatmaps, Records, load_reference
from lokr_weighting.studies.findings import findings_of

SAMPLES, BLOCKS = 100, 24


def main() -> None:
    """Count, and print."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    reference = load_reference("sd3.5-large")
    rng = np.random.default_rng(0)
    streams = reference.image, reference.text

    def timesteps() -> Heatmaps:
        image, text = (rng.permuted(each, axis=0) for each in streams)
        return Heatmaps(image, text)

    def blocks() -> Heatmaps:
        # the last block has no text wherever it stands
        order = np.append(rng.permutation(reference.block_count - 1), reference.block_count - 1)
        return Heatmaps(reference.image[:, order], reference.text[:, order])

    def samples() -> Records:
        level = rng.uniform(0.02, 0.2, (2, 1, BLOCKS))
        image, text = level * rng.lognormal(0, 0.3, (2, SAMPLES, BLOCKS))
        # every bin has samples, as calibrations have
        times = (rng.permutation(SAMPLES) % 10 + rng.random(SAMPLES)) / 10
        return Records(times, image, text)

    for name, make, kinds in (
        ("shuffled timesteps", timesteps, ("gradient", "both ends", "joint")),
        ("shuffled blocks", blocks, ("island",)),
        (f"{SAMPLES} samples without timesteps", samples, ("gradient", "both ends", "joint")),
    ):
        found: Counter[str] = Counter()
        for _ in range(repeats):
            found.update({finding.kind for finding in findings_of(make())})
        shares = ", ".join(f"{kind} {found[kind] / repeats:.1%}" for kind in kinds)
        print(f"{name}, {repeats} repeats: {shares}")


if __name__ == "__main__":
    main()
