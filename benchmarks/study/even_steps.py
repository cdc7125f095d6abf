"""Does it help to make every split's first step alike? One seed, the task shapes-style.

    python benchmarks/study/even_steps.py PICTURES

PICTURES are those of the cells shapes-style (``scripts/shapes_images.py FOLDER --count 200
--seed 1 --task style``). LyCORIS, and peft's start "lycoris", draw w1, (out_l, in_m), from a range
that shrinks with the root of in_m, and w2 is zero: so the first steps of AdamW move the weight by
less where a split is coarser. "even" undoes this by a factor sqrt(in_m / 6) on w1, which files
keep: any trainer could have it. For every plan, size, start and learning rate: the held-out loss,
and how far the first step moved the weights, as a root mean square: the coarsest splits' over the
finest's.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft.tuners.lokr.layer import LoKrLayer

from lokr_weighting import Heatmaps, Recipe
from lokr_weighting.measure.job import Job
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.studies import training
from lokr_weighting.studies.rivals import arms_of, ground_for
from lokr_weighting.studies.training import Bench, Training

MODEL = Path(__file__).parent / "shapes" / "pipeline"
ALIKE = 6  # the in_m whose first step stays as it is
STEPS, BATCH, RATES, SEED = 120, 8, (6e-3, 2e-2, 6e-2), 1
LAYERS: list[LoKrLayer] = []


def starting(even: bool) -> Callable[..., Any]:
    """Peft's way to a weighted model, with or without even first steps."""
    stock = training.weighted.get_peft_model

    @torch.no_grad()
    def get_peft_model(*args: Any, **options: Any) -> Any:
        wrapped = stock(*args, **options)
        LAYERS[:] = [each for each in wrapped.modules() if isinstance(each, LoKrLayer)]
        for layer in LAYERS if even else []:
            for w1 in layer.lokr_w1.values():
                w1.mul_((w1.shape[1] / ALIKE) ** 0.5)
        return wrapped

    return get_peft_model


@torch.no_grad()
def first_steps() -> float:
    """How far weights were moved, of the splits with the largest in_m over those with the least."""
    moved: dict[int, list[float]] = {}
    for layer in LAYERS:
        for name, w1 in layer.lokr_w1.items():
            change = torch.kron(w1, layer.lokr_w2[name])
            moved.setdefault(w1.shape[1], []).append(float(change.square().mean().sqrt()))
    means = {size: np.mean([each for each in found if each]) for size, found in moved.items()}
    return float(means[max(means)] / means[min(means)])


def main() -> None:
    """Train, and print one line for each training."""
    parser = argparse.ArgumentParser(description="Even first steps, tried.")
    parser.add_argument("pictures", type=Path)
    job = Job(str(MODEL), parser.parse_args().pictures, text_tokens=20)
    skeleton = load_skeleton(str(MODEL))
    rng = np.random.default_rng(0)
    heatmaps = Heatmaps(rng.random((10, 16)), rng.random((10, 16)))
    bench = Bench(job.prepare(10, torch.device("cpu")), held_out=0.3, samples=160, batch=BATCH)
    stock = training.weighted.get_peft_model
    for budget in ("uniform:6", "uniform:3"):
        ground = ground_for(heatmaps, skeleton, Recipe(), budget)
        for arm in arms_of(["uniform", "weighted"], ground):
            for even in (False, True):
                training.weighted.get_peft_model = starting(even)
                for rate in RATES:
                    ratios: list[float] = []

                    def on_step(ratios: list[float] = ratios) -> None:
                        if not ratios:
                            ratios.append(first_steps())

                    trained = bench.train(arm, Training(STEPS, BATCH, rate, SEED), on_step)
                    sys.stdout.write(
                        f"{budget} {arm.name} {'even' if even else 'stock'} rate {rate:g}: loss "
                        f"{trained.losses.mean():.4f}, first steps {ratios[0]:.2f}\n"
                    )
                    sys.stdout.flush()
                training.weighted.get_peft_model = stock


if __name__ == "__main__":
    main()
