"""A cell of the study as it was kept: every training's losses at its plan's own learning rate."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lokr_weighting.files import read_json
from lokr_weighting.studies.comparison import RunFile, best_rate, chooses_rate
from lokr_weighting.studies.paired import LEVEL, Paired, paired

RESULTS = Path(__file__).parent / "results"
TUNING_SEED = 0


@dataclass(frozen=True)
class Cell:
    """One comparison's kept results.

    Attributes:
        name: the cell's name.
        data: the file.
        runs: a plan's name -> its trainings at its own learning rate, in the order of their seeds.
        rates: a plan's name -> that rate, and whether it lies on the edge of what was tried.
    """

    name: str
    data: dict[str, Any]
    runs: dict[str, list[RunFile]]
    rates: dict[str, tuple[float, bool]]

    @property
    def compares(self) -> np.ndarray:
        """The held-out samples that did not choose a learning rate, (samples,) of bool."""
        return ~chooses_rate(len(self.data["images"]))

    def losses(self, plan: str) -> np.ndarray:
        """Losses, (seeds, samples); of a plan with several draws, the mean of the draws."""
        draws = [runs for name, runs in self.runs.items() if re.fullmatch(rf"{plan}(-\d+)?", name)]
        seeds = min((len(runs) for runs in draws), default=0)
        if not seeds:
            return np.empty((0, int(self.compares.sum())))
        values = [[run.values for run in runs[:seeds]] for runs in draws]
        return np.array(values).mean(axis=0)[:, self.compares]

    def difference(self, plan: str, against: str, level: float = LEVEL) -> Paired | None:
        """A plan's loss less another's; None where there are not two seeds of both."""
        own, other = self.losses(plan), self.losses(against)
        seeds = min(len(own), len(other))
        if seeds < 2:
            return None
        images = np.array(self.data["images"])[self.compares]
        return paired(other[:seeds], own[:seeds], images, level=level)


def read_cell(file: Path) -> Cell:
    """A cell's file, its trainings sorted by plan."""
    data = read_json(file)
    every = [RunFile.model_validate(run) for run in data["runs"]]
    choosing = chooses_rate(len(data["images"]))
    runs, rates = {}, {}
    for name in dict.fromkeys(run.arm for run in every):
        tried = {
            run.rate: float(np.nan_to_num(run.values[choosing].mean(), nan=np.inf))
            for run in every
            if run.arm == name and run.seed == TUNING_SEED
        }
        rate = best_rate(tried)
        rates[name] = rate, rate in (min(tried), max(tried))
        own = [run for run in every if run.arm == name and run.rate == rate]
        runs[name] = sorted(
            (run for run in own if run.seed != TUNING_SEED), key=lambda run: run.seed
        )
    return Cell(file.stem, data, runs, rates)


def head(columns: str) -> Iterator[str]:
    """The first two lines of a table; names of columns stand between bars."""
    yield f"| {columns} |"
    yield f"|{' --- |' * (columns.count('|') + 1)}"
