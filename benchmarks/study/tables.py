"""Make the study's tables and figures from its kept results, without training.

    python benchmarks/study/tables.py [--output docs/does-it-help]

Prints the tables of docs/does-it-help.md as Markdown and draws its figures. A cell that was not
finished is used as far as it goes: a plan counts where it and the plan it is set against have
trainings of two seeds or more.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import rankdata

from lokr_weighting.files import read_json
from lokr_weighting.studies.comparison import RunFile, best_rate, chooses_rate
from lokr_weighting.studies.damage import rank_correlation
from lokr_weighting.studies.paired import LEVEL, Paired, paired

HERE = Path(__file__).parent
TUNING_SEED = 0
PAIRS = (
    ("weighted", "uniform"),
    ("weighted", "inverse"),
    ("weighted", "random"),
    ("weighted", "later"),
    ("mild-0.5", "uniform"),
    ("gradient", "uniform"),
    ("gradient", "weighted"),
    ("gradient", "random"),
    ("streams", "weighted"),
    ("gradient-norm", "uniform"),
    ("ablation", "uniform"),
    ("one-for-all", "weighted"),
    ("no-critical", "weighted"),
    ("last-token", "weighted"),
    ("even-streams", "weighted"),
    ("no-clip", "weighted"),
)
"""The study's questions: a plan, and the one it is set against."""


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


def main() -> None:
    """Print every table, draw every figure."""
    parser = argparse.ArgumentParser(description="Tables and figures of the study.")
    parser.add_argument("--output", type=Path, default=HERE.parents[1] / "docs" / "does-it-help")
    arguments = parser.parse_args()
    cells = [read_cell(file) for file in sorted((HERE / "results").glob("*.json"))]
    tables: list[Callable[[list[Cell]], Iterator[str]]] = [questions, losses, ranks, bins]
    for table in tables:
        sys.stdout.writelines(f"{line}\n" for line in [*table(cells), ""])
    arguments.output.mkdir(parents=True, exist_ok=True)
    questions_figure(cells).savefig(arguments.output / "questions.svg")


def questions(cells: list[Cell]) -> Iterator[str]:
    """Every question, in thousandths of loss; less than 0 is better."""
    asked = _asked(cells)
    level = LEVEL ** (1 / max(len(asked), 1))
    yield f"{len(asked)} questions; after Sidak an interval of level {level:.4f} leaves zero out."
    yield ""
    yield from _head(
        "cell | plan | against | seeds | difference | 95 % interval | shown after Sidak"
    )
    for cell, plan, against in asked:
        found, strict = (cell.difference(plan, against, each) for each in (LEVEL, level))
        assert found is not None
        assert strict is not None
        seeds = min(len(cell.losses(plan)), len(cell.losses(against)))
        yield (
            f"| {cell.name} | {plan} | {against} | {seeds} | {1000 * found.mean:+.1f} | "
            f"{1000 * found.low:+.1f} to {1000 * found.high:+.1f} | "
            f"{'yes' if strict.shown else 'no'} |"
        )


def losses(cells: list[Cell]) -> Iterator[str]:
    """Every plan's loss, and the learning rate it was trained with."""
    yield from _head("cell | plan | parameters | learning rate | seeds | loss | kept")
    for cell in cells:
        for name, runs in cell.runs.items():
            if not runs:
                continue
            rate, on_edge = cell.rates[name]
            kept = np.array([run.kept for run in runs], dtype=float).mean()
            yield (
                f"| {cell.name} | {name} | {runs[0].parameters:,} | "
                f"{rate:g}{' (edge)' if on_edge else ''} | {len(runs)} | "
                f"{np.mean([run.values[cell.compares] for run in runs]):.4f} | {kept:.4f} |"
            )


def ranks(cells: list[Cell]) -> Iterator[str]:
    """Rank correlations of each measure with the damage of skipping a block."""
    yield from _head(
        "cell | measure | blocks | correlation with the damage of skipping | 95 % interval"
    )
    for cell in _measured(cells):
        damage = _damage(cell.data)
        for name, values in _measures(cell.data).items():
            known = ~np.isnan(values)
            rank = rank_correlation(name, values[known], damage[known])
            yield (
                f"| {cell.name} | {name} | {known.sum()} | {rank.rho:+.2f} | "
                f"{rank.low:+.2f} to {rank.high:+.2f} |"
            )


def bins(cells: list[Cell]) -> Iterator[str]:
    """Does a block's distance in a timestep bin predict what skipping it costs in that bin?

    Ranks of all (block, bin) once each bin's and each block's own mean are taken out: what is left
    is where a block differs from its own habit. The interval resamples blocks.
    """
    yield from _head(
        "cell | stream | correlation within blocks and bins | 95 % interval over blocks"
    )
    for cell in _measured(cells):
        damage = np.array([each["by_bin"] for each in _skips(cell.data)]).T
        for stream in ("image", "text"):
            distance = np.array(cell.data[stream], dtype=float)
            known = ~np.isnan(distance).any(axis=0)
            rho, low, high = _within(distance[:, known], damage[:, known])
            yield f"| {cell.name} | {stream} | {rho:+.2f} | {low:+.2f} to {high:+.2f} |"


def questions_figure(cells: list[Cell]) -> Figure:
    """Every question's difference with its interval, one row each."""
    asked = _asked(cells)
    figure = Figure(figsize=(8, 1 + 0.3 * max(len(asked), 1)), layout="constrained")
    ax = figure.subplots()
    for row, (cell, plan, against) in enumerate(asked):
        found = cell.difference(plan, against)
        assert found is not None
        ax.plot([1000 * found.low, 1000 * found.high], [row, row], color="#0072b2")
        ax.plot(1000 * found.mean, row, "o", color="#d55e00" if found.shown else "#0072b2")
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(
        range(len(asked)),
        [f"{plan} against {against}, {cell.name}" for cell, plan, against in asked],
    )
    ax.invert_yaxis()
    ax.set_xlabel("difference in thousandths of loss (below 0: better)")
    return figure


def _head(columns: str) -> Iterator[str]:
    """The first two lines of a table; names of columns stand between bars."""
    yield f"| {columns} |"
    yield f"|{' --- |' * (columns.count('|') + 1)}"


def _asked(cells: list[Cell]) -> list[tuple[Cell, str, str]]:
    """Every question that a cell answers."""
    return [
        (cell, plan, against)
        for cell in cells
        for plan, against in PAIRS
        if cell.difference(plan, against) is not None
    ]


def _measured(cells: list[Cell]) -> list[Cell]:
    """One cell for each model and task: budgets share their measurements."""
    return list({cell.name.rsplit("-", 2)[0]: cell for cell in cells}.values())


def _skips(data: dict[str, Any]) -> list[dict[str, Any]]:
    """What skipping each block alone costs, in the blocks' order."""
    alone = {
        f"{each['path']}.{each['first']}": each
        for each in data["ablation"]["changes"]
        if each["kind"] == "skip" and each["first"] == each["last"]
    }
    return [alone[block] for block in data["blocks"]]


def _damage(data: dict[str, Any]) -> np.ndarray:
    return np.array([each["change"] for each in _skips(data)])


def _measures(data: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every measure of the blocks, (blocks,); NaN where a block has none."""
    image, text = (np.array(data[stream], dtype=float).mean(axis=0) for stream in ("image", "text"))
    norms = dict.fromkeys(data["blocks"], 0.0)
    for name, norm in data["gradient_norms"].items():
        norms[next(block for block in data["blocks"] if name.startswith(f"{block}."))] += norm
    return {
        "image distance": image,
        "text distance": text,
        "gradient norm": np.array(list(norms.values())),
        "depth": np.arange(len(image), dtype=float),
    }


def _within(distance: np.ndarray, damage: np.ndarray) -> tuple[float, float, float]:
    """Correlation of ranks, (bins, blocks), without rows' and columns' means; its interval."""
    left = [_residual(rankdata(each).reshape(each.shape)) for each in (distance, damage)]
    rng = np.random.default_rng(0)
    blocks = distance.shape[1]
    drawn = [rng.integers(blocks, size=blocks) for _ in range(2000)]
    redone = [_correlation(left[0][:, own], left[1][:, own]) for own in drawn]
    low, high = np.quantile(redone, [0.025, 0.975])
    return _correlation(*left), float(low), float(high)


def _residual(values: np.ndarray) -> np.ndarray:
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    return values - rows - columns + values.mean()


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


if __name__ == "__main__":
    main()
