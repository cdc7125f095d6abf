"""Does the stop rule stop at the right plan, and do the stated intervals hold?

Calibrates the digits model until its plan is settled, goes on to many more samples, and compares:

- the plan at the stop with the plan of all samples, split for split;
- the stated 95 % intervals (1.96 standard errors) of consecutive short runs, each as good as a run
  of its own since samples are drawn independently, with the value of all samples together.

Run: python benchmarks/stop_rule.py DIGIT_IMAGES [--samples 13000] [--model digits]
where DIGIT_IMAGES is a folder written by scripts/digits_images.py.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from lokr_weighting import Heatmaps, Job, Recipe, Stop, calibrate_folder, heatmaps_of, make_plan
from lokr_weighting.cli.progress import Bar, quiet_libraries
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.plan.recipe import contributions
from lokr_weighting.plan.settled import judge
from lokr_weighting.records import Records, stack_records
from lokr_weighting.records.calibration import Calibration

SHORT_RUN = 130


def main() -> None:
    """Print what the stop rule took and whether it was right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    parser.add_argument("--samples", type=int, default=13_000)
    parser.add_argument("--model", default="digits")
    options = parser.parse_args()
    quiet_libraries()
    job = Job(options.model, options.images)
    with tempfile.TemporaryDirectory() as folder, Bar() as bar:
        output = Path(folder) / "calibration"
        short, settled = calibrate_folder(job, output, on_progress=bar.update)
        many = Stop(samples=max(options.samples, 20 * len(short.records)))
        long, _ = calibrate_folder(job, output, stop=many, on_progress=bar.update)
    assert settled is not None
    print(
        f"stopped after {len(short.records)} samples: {settled.same:.0%} of the resamples gave the "
        f"plan, {settled.near:.0%} were within one split of it"
    )
    for tokens in ("mean", "last"):
        compare(options.model, short, long, Recipe(tokens=tokens))


def compare(model: str, short: Calibration, long: Calibration, recipe: Recipe) -> None:
    """Print how the plan at the stop differs from the long run's, and what intervals cover."""
    transformer = empty_transformer(model)
    at_stop, in_the_end = (
        make_plan(each.heatmaps(tokens=recipe.tokens), transformer, recipe)
        for each in (short, long)
    )
    pairs = list(zip(at_stop.linears, in_the_end.linears, strict=True))
    differ = sorted({a.block for a, b in pairs if a.split != b.split})
    factors = [(a.factor, b.factor) for a, b in zip(at_stop.blocks, in_the_end.blocks, strict=True)]
    print(f"\ntokens={recipe.tokens}, against {len(long.records)} samples:")
    print(f"  factors at the stop {[a for a, _ in factors]}")
    print(f"  factors in the end  {[b for _, b in factors]}")
    print(
        f"  blocks with another split: {differ or 'none'}; critical at the stop "
        f"{at_stop.critical}, in the end {in_the_end.critical}"
    )
    rows = stack_records(list(long.records), recipe.tokens)
    coverage(rows, transformer, recipe)


def coverage(rows: Records, transformer, recipe: Recipe) -> None:
    """Print the share of short runs whose intervals hold the value of all samples."""
    linears, names = block_linears(transformer), block_names(transformer)
    truth = heatmaps_of(rows, recipe.bins)
    shares = contributions(truth, recipe)
    inside: dict[str, list[np.ndarray]] = {"image": [], "text": [], "contribution": []}
    for first in range(0, len(rows.timesteps) - SHORT_RUN + 1, SHORT_RUN):
        part = slice(first, first + SHORT_RUN)
        run = Records(rows.timesteps[part], rows.image[part], rows.text[part])
        found = heatmaps_of(run, recipe.bins)
        inside["image"].append(holds(found, truth, "image"))
        inside["text"].append(holds(found, truth, "text"))
        error = judge(run, linears, names, recipe).contribution_error
        apart = np.abs(contributions(found, recipe) - shares)
        inside["contribution"].append((apart <= 1.96 * error)[error > 0])
    runs = len(inside["image"])
    for name, hits in inside.items():
        share = np.mean(np.concatenate(hits))
        print(f"  95 % intervals of {name}: {share:.1%} of {runs} runs of {SHORT_RUN} samples hold")


def holds(found: Heatmaps, truth: Heatmaps, stream: str) -> np.ndarray:
    """Whether each block's interval holds the true mean distance; blocks without it left out."""
    error = getattr(found, f"{stream}_error")
    apart = np.abs(getattr(found, stream).mean(axis=0) - getattr(truth, stream).mean(axis=0))
    return (apart <= 1.96 * error)[~np.isnan(error)]


if __name__ == "__main__":
    main()
