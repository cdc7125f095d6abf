"""How long planning again from saved heatmaps takes, once everything is imported.

Run: python benchmarks/plan_again.py
"""

import json
import tempfile
import time
from pathlib import Path

from lokr_weighting import load_reference, make_plan, read_heatmaps, write_heatmaps
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.targets.lycoris import config_of

ROUNDS = 5
BUDGETS = (None, "120M", "uniform:8")


def main() -> None:
    """Print the median and the slowest of the rounds for each budget, in seconds."""
    transformer = empty_transformer("sd3.5-large")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "heatmaps.json"
        write_heatmaps(file, load_reference("sd3.5-large"))
        plan = make_plan(read_heatmaps(file), transformer)  # the first imports LyCORIS
        for budget in BUDGETS:
            seconds = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                plan = make_plan(read_heatmaps(file), transformer, budget=budget)
                json.dumps(config_of(plan).written())
                seconds.append(time.perf_counter() - start)
            median, slowest = sorted(seconds)[ROUNDS // 2], max(seconds)
            print(
                f"budget {budget}: median {median:.3f} s, slowest {slowest:.3f} s, "
                f"{plan.parameters:,} parameters"
            )


if __name__ == "__main__":
    main()
