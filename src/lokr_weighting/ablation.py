"""What it costs to run the blocks otherwise: the training loss on the user's own data.

Every strategy sees the same samples with the same noise, so a change is a mean of paired
differences, with its standard error within timestep bins.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from lokr_weighting.architectures import empty_transformer
from lokr_weighting.blocks import block_names, family_of
from lokr_weighting.data.dataset import DatasetForward, Job
from lokr_weighting.data.folder import check_problems, find_images
from lokr_weighting.data.pipelines import Offload, pipeline_folder
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_model, write_json
from lokr_weighting.heatmaps import nulls
from lokr_weighting.records import Record, bin_of, stack_records
from lokr_weighting.strategies import Kind, Strategy, executed

BINS = 10
LEVEL = 1.96  # standard errors of a 95 % interval
FEWEST = 4  # blocks, for a rank correlation's interval


@dataclass(frozen=True)
class Change:
    """What one strategy does to the loss.

    Attributes:
        strategy: the strategy.
        change: the mean change of the loss.
        error: its standard error.
        by_bin: the mean change in each timestep bin, (bins,).
        bin_error: their standard errors, (bins,).
    """

    strategy: Strategy
    change: float
    error: float
    by_bin: np.ndarray
    bin_error: np.ndarray


@dataclass(frozen=True)
class Ablation:
    """The loss as the model is, and what each strategy does to it.

    Attributes:
        model: the model's name.
        samples: how many samples every strategy saw.
        blocks: the model's blocks.
        loss: the mean loss as it is.
        changes: one for each strategy.
        image: each block's mean distance in the image stream, (blocks,).
        text: the same in the text stream, NaN where a block hands no text on.
    """

    model: str
    samples: int
    blocks: tuple[str, ...]
    loss: float
    changes: tuple[Change, ...]
    image: np.ndarray
    text: np.ndarray


class ChangeEntry(BaseModel):
    """One strategy in the file: a `Strategy`, and its `Change`."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    path: str
    first: int
    last: int
    by: int | None = None
    change: float
    error: float
    by_bin: list[float]
    bin_error: list[float]


class AblationFile(BaseModel):
    """`ablation.json`; `text` is null where a block hands no text on."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    model: str
    samples: int
    blocks: list[str]
    loss: float
    image: list[float]
    text: list[float | None]
    changes: list[ChangeEntry]


def write_ablation(path: Path, found: Ablation) -> None:
    """Write an ablation as JSON."""
    write_json(path, file_of(found).model_dump(mode="json"))


def read_ablation(path: Path) -> Ablation:
    """Read an ablation's file.

    Raises:
        LokrWeightingError: missing, no JSON, or not an ablation's file.
    """
    file = read_model(path, AblationFile)
    changes = (
        Change(
            Strategy(each.kind, each.path, each.first, each.last, each.by),
            each.change,
            each.error,
            np.array(each.by_bin),
            np.array(each.bin_error),
        )
        for each in file.changes
    )
    return Ablation(
        file.model,
        file.samples,
        tuple(file.blocks),
        file.loss,
        tuple(changes),
        np.array(file.image),
        np.array(file.text, dtype=float),
    )


def file_of(found: Ablation) -> AblationFile:
    """The file's content."""
    return AblationFile(
        model=found.model,
        samples=found.samples,
        blocks=list(found.blocks),
        loss=found.loss,
        image=found.image.tolist(),
        text=nulls(found.text),
        changes=[
            ChangeEntry(
                **asdict(each.strategy),
                change=each.change,
                error=each.error,
                by_bin=each.by_bin.tolist(),
                bin_error=each.bin_error.tolist(),
            )
            for each in found.changes
        ],
    )


@dataclass(frozen=True)
class Rank:
    """A rank correlation between a stream's distance and the damage of skipping each block.

    Attributes:
        stream: "image" or "text".
        blocks: over how many blocks.
        rho: Spearman's rank correlation.
        low: the lower end of its 95 % interval.
        high: the upper end.
    """

    stream: str
    blocks: int
    rho: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What it says, in words."""
        if self.low > 0:
            said = "predicted damage: blocks that turn it more are missed more"
        elif self.high < 0:
            said = "predicted damage the wrong way: blocks that turn it more are missed less"
        else:
            said = "did not predict damage beyond chance"
        return (
            f"On this model and these data, the {self.stream} stream's distance {said} (rank "
            f"correlation {self.rho:+.2f}, 95 % interval {self.low:+.2f} to {self.high:+.2f}, "
            f"{self.blocks} blocks)."
        )


def standard_strategies(model: nn.Module) -> list[Strategy]:
    """Each block skipped; each list's middle half skipped, repeated, reversed, in parallel."""
    counts = {
        blocks.path: len(list(model.get_submodule(blocks.path).children()))
        for blocks in family_of(model).lists
    }
    found = [
        Strategy("skip", path, index, index)
        for path, count in counts.items()
        for index in range(count)
    ]
    kinds: tuple[Kind, ...] = ("skip", "repeat", "reverse", "parallel")
    for path, count in counts.items():
        first, last = count // 4, count - count // 4 - 1
        if last > first:
            found += [Strategy(kind, path, first, last) for kind in kinds]
    return found


def ablate_folder(
    job: Job,
    strategies: Sequence[Strategy] | None = None,
    samples: int = 40,
    device: str | None = None,
    offload: Offload = "none",
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Ablation:
    """Measure strategies on a folder of images.

    Args:
        job: model and data, as for a calibration.
        strategies: what to try; by default `standard_strategies`.
        samples: how many (image, caption, timestep); at least two for each of ten timestep bins.
        device: "cuda", "cpu", ...; by default a GPU where there is one.
        offload: as for a calibration.
        on_progress: called with (forwards done, forwards in all).

    Raises:
        LokrWeightingError: too few samples, or the model cannot run a strategy.
    """
    if samples < 2 * BINS:
        raise LokrWeightingError(
            f"samples = {samples}: {BINS} timestep bins need at least {2 * BINS}"
        )
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = pipeline_folder(job.model, job.revision)
    images = find_images(job.data)
    check_problems(images.problems, len(images.items) + len(images.problems))
    empty = empty_transformer(str(folder))
    names = tuple(block_names(empty))
    chosen = list(standard_strategies(empty) if strategies is None else strategies)
    settings = job.settings(folder, images, BINS, where)
    total = samples * (len(chosen) + 1)
    with DatasetForward(
        job, folder, images, settings, names, range(samples), where, offload
    ) as forward:
        records = _records(forward, samples, on_progress, total)
        forward.probe.__exit__()  # the blocks do not run in their order any more
        base = np.array([forward.loss(index) for index in range(samples)])
        losses = []
        for number, strategy in enumerate(chosen, start=1):
            with executed(forward.forward.pipeline.transformer, strategy):
                losses.append(_losses(forward, samples, strategy))
            on_progress(samples * (number + 1), total)
    stacked = stack_records(records)
    bins = bin_of(stacked.timesteps, BINS)
    return Ablation(
        job.model,
        samples,
        names,
        float(base.mean()),
        tuple(
            _change(strategy, loss - base, bins)
            for strategy, loss in zip(chosen, losses, strict=True)
        ),
        stacked.image.mean(axis=0),
        stacked.text.mean(axis=0),
    )


def ranks_of_skipping(ablation: Ablation) -> list[Rank]:
    """Whether distance predicted what skipping each block costs, for each stream.

    The interval is Fisher's with the standard error of Bonett and Wright, "Sample size requirements
    for estimating Pearson, Kendall and Spearman correlations", 2000.
    """
    damage = {
        f"{each.strategy.path}.{each.strategy.first}": each.change
        for each in ablation.changes
        if each.strategy.kind == "skip" and each.strategy.first == each.strategy.last
    }
    found = []
    for stream, distances in (("image", ablation.image), ("text", ablation.text)):
        pairs = [
            (distance, damage[name])
            for name, distance in zip(ablation.blocks, distances, strict=True)
            if name in damage and not np.isnan(distance)
        ]
        if len(pairs) >= FEWEST:
            found.append(_rank(stream, np.array(pairs)))
    return found


def _rank(stream: str, pairs: np.ndarray) -> Rank:
    places: Any = pairs.argsort(axis=0).argsort(axis=0)
    rho = float(np.corrcoef(places.T)[0][1])
    error = np.sqrt((1 + rho**2 / 2) / (len(pairs) - 3))
    middle = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    low, high = np.tanh([middle - LEVEL * error, middle + LEVEL * error])
    return Rank(stream, len(pairs), rho, float(low), float(high))


def _records(
    forward: DatasetForward, samples: int, on_progress: Callable[[int, int], None], total: int
) -> list[Record]:
    found = []
    for index in range(samples):
        measured = forward(index)
        if not isinstance(measured, Record):
            raise LokrWeightingError(f"{measured.block} gives NaN or Inf: try another dtype")
        found.append(measured)
        on_progress(index + 1, total)
    return found


def _losses(forward: DatasetForward, samples: int, strategy: Strategy) -> np.ndarray:
    try:
        return np.array([forward.loss(index) for index in range(samples)])
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise LokrWeightingError(
            f"{strategy.label}: the model cannot be run like this ({error})"
        ) from error


def _change(strategy: Strategy, differences: np.ndarray, bins: np.ndarray) -> Change:
    """The mean over the bins, each counted alike, with its standard error."""
    rows = [differences[bins == each] for each in range(BINS)]
    means = np.array([row.mean() for row in rows])
    errors = np.array([row.std(ddof=1) / np.sqrt(len(row)) for row in rows])
    error = float(np.sqrt(np.square(errors).sum()) / BINS)
    return Change(strategy, float(means.mean()), error, means, errors)


def images_of(
    model: str,
    strategies: Sequence[Strategy],
    prompts: Sequence[str],
    seed: int = 0,
    steps: int = 28,
    device: str | None = None,
    **options: Any,
) -> list[list[Any]]:
    """Images side by side: one row for the model as it is, and one for each strategy.

    Args:
        model: a pipeline folder, hub id or "digits".
        strategies: the strategies.
        prompts: the prompts; the same noise is used for a prompt in every row.
        seed: decides the noise.
        steps: denoising steps.
        device: where to run.
        options: further arguments of the pipeline's call.

    Returns:
        PIL images, (1 + strategies) x prompts.
    """
    from contextlib import nullcontext

    from diffusers import DiffusionPipeline

    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    folder: Path = pipeline_folder(model)
    pipeline: Any = DiffusionPipeline.from_pretrained(folder, local_files_only=True).to(where)
    pipeline.set_progress_bar_config(disable=True)
    rows = []
    for strategy in (None, *strategies):
        way = nullcontext() if strategy is None else executed(pipeline.transformer, strategy)
        with way:
            rows.append(
                [
                    pipeline(
                        prompt,
                        num_inference_steps=steps,
                        generator=torch.Generator().manual_seed(seed + number),
                        **options,
                    ).images[0]
                    for number, prompt in enumerate(prompts)
                ]
            )
    return rows
