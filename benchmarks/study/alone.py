"""What does training one block alone gain, on the task shapes-style?

    python benchmarks/study/alone.py PICTURES --work FOLDER

PICTURES are those of the cells shapes-style (``scripts/shapes_images.py FOLDER --count 200
--seed 1 --task style``). For each block an adapter of all its Linears (factor 3) and of no other's,
trained for 120 steps with two seeds at the best of three learning rates, which one more seed
chooses. A training is a file in FOLDER; the same command goes on where it was stopped. When all are
there, ``benchmarks/study/results/alone/shapes-style.json`` keeps every block's gain: how much lower
than the base model's the held-out loss is. ``tables.py`` sets every measure of the blocks against
it.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from lokr_weighting import Heatmaps, Recipe
from lokr_weighting.files import read_json, write_json
from lokr_weighting.measure.job import Job
from lokr_weighting.models.blocks import block_names
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.plan.plan import Plan
from lokr_weighting.studies.comparison import BINS, chooses_rate
from lokr_weighting.studies.rivals import Arm, arms_of, ground_for
from lokr_weighting.studies.training import Bench, Training

MODEL = Path(__file__).parent / "shapes" / "pipeline"
RESULTS = Path(__file__).parent / "results" / "alone"
STEPS, BATCH, SAMPLES, RATES, SEEDS = 120, 8, 160, (2e-2, 6e-2, 1.8e-1), (1, 2)
BUDGET = "uniform:3"


def only(plan: Plan, block: int) -> Plan:
    """The plan's adapter for one block, and for no other."""
    linears = tuple(linear for linear in plan.linears if linear.block == block)
    total = sum(linear.parameters for linear in linears)
    return plan.model_copy(update={"linears": linears, "parameters": total, "budget": None})


def main() -> None:
    """Train what is missing, then keep every block's gain."""
    parser = argparse.ArgumentParser(description="Every block trained alone.")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--work", type=Path, default=Path("study/alone"))
    arguments = parser.parse_args()
    prepared = Job(str(MODEL), arguments.pictures, text_tokens=20).prepare(
        BINS, torch.device("cpu")
    )
    bench = Bench(prepared, held_out=0.3, samples=SAMPLES, batch=BATCH)
    skeleton = load_skeleton(str(MODEL))
    unused = np.tile(np.linspace(0, 1, len(block_names(skeleton))), (BINS, 1))
    ground = ground_for(Heatmaps(unused, unused), skeleton, Recipe(), BUDGET)
    (uniform,) = arms_of(["uniform"], ground)
    compares = ~chooses_rate(SAMPLES)

    def losses(block: int, rate: float, seed: int) -> np.ndarray:
        """Held-out losses, (samples,), of a block's training, trained if it is not there."""
        file = arguments.work / f"block{block}.rate{rate:g}.seed{seed}.json"
        if not file.exists():
            arm = Arm("uniform", "alone", only(uniform.plan, block))
            trained = bench.train(arm, Training(STEPS, BATCH, rate, seed))
            write_json(file, {"losses": trained.losses.tolist()})
        return np.array(read_json(file)["losses"])

    base, _ = bench.losses()
    kept = []
    for block, name in enumerate(block_names(skeleton)):
        tried = {rate: float(losses(block, rate, 0)[~compares].mean()) for rate in RATES}
        best = min(tried, key=tried.__getitem__)
        own = np.array([losses(block, best, seed)[compares] for seed in SEEDS])
        gains = base[compares].mean() - own.mean(axis=1)
        parameters = only(uniform.plan, block).parameters
        kept.append(
            {"block": name, "parameters": parameters, "rate": best, "gains": gains.tolist()}
        )
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"base": float(base[compares].mean()), "blocks": kept}, indent=1)
    (RESULTS / "shapes-style.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
