"""A plan compared with itself: how often a difference is shown where there is none.

Run: python benchmarks/no_difference.py DIGIT_IMAGES OUTPUT [--arms 12]

The uniform plan is trained several times over on the digits model, from other initial values each
time, with the learning rate of each chosen anew, as `compare` does for different plans. Every pair
is then compared. The pairs share trainings, so the count scatters more than that of as many
independent ones.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np

from lokr_weighting import Job
from lokr_weighting.files import read_model
from lokr_weighting.studies.compare import RUNS, compare_folder
from lokr_weighting.studies.comparison import RunFile, Setup, chooses_rate, run_file
from lokr_weighting.studies.paired import paired


def main() -> None:
    """Train, compare every pair, and print how many differences were shown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--arms", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    names = ["uniform", *(f"uniform#{number}" for number in range(2, arguments.arms + 1))]
    setup = Setup(
        plans=tuple(names),
        budget="uniform:4",
        steps=arguments.steps,
        seeds=arguments.seeds,
        rates=(6e-3, 2e-2),
        samples=80,
        text_tokens=8,
    )
    comparison = compare_folder(
        Job("digits", arguments.images),
        arguments.output,
        setup,
        on_progress=lambda done, known: print(f"\r{done} of {known} steps", end="", flush=True),
    )
    compares = ~chooses_rate(setup.samples)
    runs, seeds = arguments.output / RUNS, range(1, 1 + setup.seeds)
    losses = {
        each.arm.name: np.stack(
            [
                read_model(runs / run_file(each.arm.name, each.rate, seed), RunFile).values[
                    compares
                ]
                for seed in seeds
            ]
        )
        for each in comparison.compared
    }
    images = np.array(comparison.held_out)[compares]
    shown = [
        paired(losses[first], losses[second], images).shown
        for first, second in combinations(names, 2)
    ]
    print(f"\n{sum(shown)} of {len(shown)} pairs of the same plan show a difference")


if __name__ == "__main__":
    main()
