"""Make the study's tables and figures from its kept results, without training.

    python benchmarks/study/tables.py [--output docs/does-it-help]

Prints the tables of docs/does-it-help.md as Markdown and draws its figures. A cell that was not
finished is used as far as it goes: a plan counts where it and the plan it is set against have
trainings of two seeds or more.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from cells import RESULTS, Cell, head, read_cell
from matplotlib.figure import Figure
from measures import alone, bins, ranks

from lokr_weighting.studies.paired import LEVEL, Paired, paired

HERE = Path(__file__).parent
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


def main() -> None:
    """Print every table, draw every figure."""
    parser = argparse.ArgumentParser(description="Tables and figures of the study.")
    parser.add_argument("--output", type=Path, default=HERE.parents[1] / "docs" / "does-it-help")
    arguments = parser.parse_args()
    cells = [read_cell(file) for file in sorted(RESULTS.glob("*.json"))]
    tables: list[Callable[[list[Cell]], Iterator[str]]] = [
        questions,
        capacity,
        losses,
        ranks,
        alone,
        bins,
    ]
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
    yield from head(
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


def capacity(cells: list[Cell]) -> Iterator[str]:
    """What the larger budget, and longer trainings, do to a plan of one task; less than 0 helps."""
    yield from head("task | plan | from | to | seeds | difference | 95 % interval")
    by_name = {cell.name: cell for cell in cells}
    for name, cell in by_name.items():
        task, budget, question = name.rsplit("-", 2)
        others = {
            f"{task}-4-{question}": budget == "6",
            f"{task}-{budget}-long": question == "main",
        }
        for other in (by_name[each] for each, asked in others.items() if asked and each in by_name):
            found = _between(cell, other, "uniform")
            if found is not None:
                yield (
                    f"| {task} | uniform | {_setting(cell)} | {_setting(other)} | "
                    f"{_seeds(cell, other)} | {1000 * found.mean:+.1f} | "
                    f"{1000 * found.low:+.1f} to {1000 * found.high:+.1f} |"
                )


def losses(cells: list[Cell]) -> Iterator[str]:
    """Every plan's loss, and the learning rate it was trained with."""
    yield from head("cell | plan | parameters | learning rate | seeds | loss | kept")
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


def _asked(cells: list[Cell]) -> list[tuple[Cell, str, str]]:
    """Every question that a cell answers."""
    return [
        (cell, plan, against)
        for cell in cells
        for plan, against in PAIRS
        if cell.difference(plan, against) is not None
    ]


def _between(cell: Cell, other: Cell, plan: str) -> Paired | None:
    """A plan's loss in another cell of the same task less its own here."""
    here, there = cell.losses(plan), other.losses(plan)
    seeds = min(len(here), len(there))
    if seeds < 2 or cell.data["images"] != other.data["images"]:
        return None
    images = np.array(cell.data["images"])[cell.compares]
    return paired(here[:seeds], there[:seeds], images)


def _seeds(cell: Cell, other: Cell) -> int:
    return min(len(cell.losses("uniform")), len(other.losses("uniform")))


def _setting(cell: Cell) -> str:
    return f"{cell.data['setup']['budget']}, {cell.data['setup']['steps']} steps"


if __name__ == "__main__":
    main()
