"""What measures of the blocks say: beside the damage of skipping, beside training a block alone."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from cells import RESULTS, Cell, head
from scipy.stats import rankdata

from lokr_weighting.files import read_json
from lokr_weighting.studies.damage import rank_correlation


def ranks(cells: list[Cell]) -> Iterator[str]:
    """Rank correlations of each measure with the damage of skipping a block."""
    yield from head(
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


def alone(cells: list[Cell]) -> Iterator[str]:
    """Rank correlations of each measure with what training a block alone gains."""
    yield from head("task | measure | blocks | correlation with the gain alone | 95 % interval")
    for cell in _measured(cells):
        file = RESULTS / "alone" / f"{cell.name.rsplit('-', 2)[0]}.json"
        if not file.exists():
            continue
        kept = read_json(file)["blocks"]
        gains = np.array([np.mean(each["gains"]) for each in kept])
        measures = _measures(cell.data) | {"damage of skipping": _damage(cell.data)}
        for name, values in measures.items():
            known = ~np.isnan(values)
            rank = rank_correlation(name, values[known], gains[known])
            yield (
                f"| {file.stem} | {name} | {known.sum()} | {rank.rho:+.2f} | "
                f"{rank.low:+.2f} to {rank.high:+.2f} |"
            )


def bins(cells: list[Cell]) -> Iterator[str]:
    """Does a block's distance in a timestep bin predict what skipping it costs in that bin?

    Ranks of all (block, bin) once each bin's and each block's own mean are taken out: what is left
    is where a block differs from its own habit. The interval resamples blocks.
    """
    yield from head(
        "cell | stream | correlation within blocks and bins | 95 % interval over blocks"
    )
    for cell in _measured(cells):
        damage = np.array([each["by_bin"] for each in _skips(cell.data)]).T
        for stream in ("image", "text"):
            distance = np.array(cell.data[stream], dtype=float)
            known = ~np.isnan(distance).any(axis=0)
            rho, low, high = _within(distance[:, known], damage[:, known])
            yield f"| {cell.name} | {stream} | {rho:+.2f} | {low:+.2f} to {high:+.2f} |"


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
