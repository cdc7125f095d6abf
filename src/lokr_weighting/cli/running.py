"""Running a calibration from the command line: where and how, its bar, what is said at its end."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from lokr_weighting import stopping
from lokr_weighting.processes import is_main

if TYPE_CHECKING:
    from lokr_weighting.measure.job import Job
    from lokr_weighting.measure.stop import Stop
    from lokr_weighting.plan.recipe import Recipe
    from lokr_weighting.plan.settled import Settled
    from lokr_weighting.records.calibration import Calibration


@dataclass(frozen=True)
class Run:
    """Where a calibration runs, and what it gathers beside the distances.

    Attributes:
        device: as for `calibrate_folder`.
        offload: the same.
        similarity: the same.
        gradients: the same.
    """

    device: str | None = None
    offload: Literal["none", "group", "sequential"] = "none"
    similarity: bool = False
    gradients: bool = False


def jobs_of(job: "Job", transformer: str | None, output: Path) -> "list[tuple[Job, Path]]":
    """The jobs that --transformer asks for, each with the output that is its own.

    Raises:
        LokrWeightingError: both are asked for where the pipeline has one, or there is no pipeline.
    """
    from lokr_weighting.models.experts import BOTH, NAMES, chosen_expert
    from lokr_weighting.models.identity import read_index
    from lokr_weighting.models.loading import pipeline_folder

    if transformer != BOTH:
        return [(replace(job, transformer=transformer), output)]
    index = read_index(pipeline_folder(job.model, job.revision))
    for name in NAMES:
        chosen_expert(index, name, job.model)
    return [
        (
            replace(job, transformer=name),
            output.with_name(f"{output.stem}.{name}{output.suffix}"),
        )
        for name in NAMES
    ]


def run_calibration(
    job: "Job",
    folder: Path,
    run: Run,
    *,
    recipe: "Recipe",
    budget: str | None,
    blocks: str | None,
    stop: "Stop",
) -> "tuple[Calibration, Settled | None]":
    """Calibrate with a progress bar; an interruption says how to go on."""
    stop.check(recipe.bins)
    from lokr_weighting.cli.progress import Bar, quiet_libraries
    from lokr_weighting.measure.calibrate import calibrate_folder

    quiet_libraries()
    try:
        with Bar(enabled=is_main()) as bar:
            calibration, settled = calibrate_folder(
                job,
                folder,
                recipe=recipe,
                budget=budget,
                blocks=blocks,
                stop=stop,
                device=run.device,
                offload=run.offload,
                similarity=run.similarity,
                gradients=run.gradients,
                on_progress=bar.update,
                on_gradients=bar.gradients,
                say=bar.say,
            )
    except KeyboardInterrupt:
        stopping.say(f"what was measured is kept in {folder}; resume with: {stopping.command()}")
        raise
    if is_main():
        what = "plan" if recipe.by_distance else "plan by distance"
        _say_how_settled(calibration, settled, stop.share, what)
    return calibration, settled


def _say_how_settled(
    calibration: "Calibration", settled: "Settled | None", share: float, what: str
) -> None:
    for name, reason in calibration.skipped.items():
        typer.echo(f"skipped {name}: {reason}", err=True)
    for block, count in calibration.not_finite_by_block.items():
        typer.echo(f"{block}: NaN or Inf in {count} samples, which were left out", err=True)
    if settled is None:
        return
    verdict = "settled" if settled.near >= share else "NOT settled"
    typer.echo(
        f"{len(calibration.records)} samples; the {what} is {verdict}: {settled.same:.0%} of the "
        f"resamples give it, {settled.near:.0%} are within one split of it in every block.",
        err=True,
    )
