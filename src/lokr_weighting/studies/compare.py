"""Plans compared by training with them, at one budget, each at its own best learning rate.

Every run is a file in the comparison's folder; what is there is not run again. A run is a function
of its name alone, so that it does not matter when, in which order or in which process it happens.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from lokr_weighting.data.folder import fingerprint
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import check_same, nulls, read_model, write_json
from lokr_weighting.measure.calibrate import calibrate_folder
from lokr_weighting.measure.collector import Progress
from lokr_weighting.measure.job import Job
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.plan.plan import write_plan
from lokr_weighting.processes import from_main, joined, raise_together, tried
from lokr_weighting.records.summary import ADDED
from lokr_weighting.studies.ablation import Ablation
from lokr_weighting.studies.comparison import (
    Comparison,
    RunFile,
    Setup,
    best_rate,
    chooses_rate,
    compared,
    run_file,
)
from lokr_weighting.studies.rivals import Arm, arms_of, check_names, ground_for, wants_gradients
from lokr_weighting.studies.training import Bench, Training, parts_of

RUNS, PLANS, CALIBRATION, SETUP, RESULT = (
    "runs",
    "plans",
    "calibration",
    "setup.json",
    "comparison.json",
)
TUNING_SEED = 0
EXTENSIONS = 2  # times that a plan's grid of learning rates is continued beyond its edge


@dataclass(frozen=True)
class _Run:
    """A training by its name."""

    arm: Arm
    rate: float
    seed: int

    @property
    def file(self) -> str:
        return run_file(self.arm.name, self.rate, self.seed)


class _Comparing:
    """Runs what is missing, and reads what is there.

    Args:
        bench: where trainings happen.
        setup: the settings.
        output: the comparison's folder.
        share: (this process's number, processes in all).
        on_progress: called with (steps done, steps in all that are known of).
    """

    def __init__(
        self,
        bench: Bench,
        setup: Setup,
        output: Path,
        share: tuple[int, int],
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.bench, self.setup, self.output = bench, setup, output
        self.process, self.processes = share
        self.on_progress = on_progress
        self.done = self.known = 0

    def run(self, runs: Sequence[_Run]) -> list[RunFile]:
        """Every one of these runs, by this process or another.

        Raises:
            LokrWeightingError: a process failed, or a run that is there was of another plan.
        """
        own = [each for number, each in enumerate(runs) if number % self.processes == self.process]
        missing = [each for each in own if not (self.output / RUNS / each.file).exists()]
        self.known += len(missing) * self.setup.steps
        raise_together(tried(self._train_all, missing)[1])
        return [self._read(each) for each in runs]

    def _read(self, run: _Run) -> RunFile:
        file = self.output / RUNS / run.file
        result = read_model(file, RunFile)
        if result.plan != run.arm.plan.identity:
            raise LokrWeightingError(
                f"{file}: was trained with another plan of that name; remove it, or give another "
                "folder"
            )
        if len(result.losses) != self.setup.samples:
            raise LokrWeightingError(
                f"{file}: losses has {len(result.losses)} numbers of {self.setup.samples} samples; "
                "remove it, and it is run again"
            )
        return result

    def _train_all(self, runs: Sequence[_Run]) -> None:
        for each in runs:
            self._train(each)

    def _train(self, run: _Run) -> None:
        def step() -> None:
            self.done += 1
            self.on_progress(self.done, self.known)

        training = Training(self.setup.steps, self.setup.batch, run.rate, run.seed)
        trained = self.bench.train(run.arm, training, step)
        result = RunFile(
            arm=run.arm.name,
            plan=run.arm.plan.identity,
            rate=run.rate,
            seed=run.seed,
            parameters=trained.parameters,
            losses=nulls(trained.losses),
            kept=nulls(trained.kept),
            seconds=trained.seconds,
            peak_bytes=trained.peak_bytes,
        )
        write_json(self.output / RUNS / run.file, result.model_dump(mode="json"))

    def tuned(self, arms: Sequence[Arm]) -> dict[str, dict[float, float]]:
        """For each plan, the learning rates that were tried -> the loss they are judged by.

        A plan's grid is continued by its own ratio where the best lies on its edge.
        """
        ratio = self.setup.rates[1] / self.setup.rates[0]
        judged: dict[str, dict[float, float]] = {arm.name: {} for arm in arms}
        wanted = [(arm, rate) for arm in arms for rate in self.setup.rates]
        for _ in range(1 + EXTENSIONS):
            runs = [_Run(arm, rate, TUNING_SEED) for arm, rate in wanted]
            for run, result in zip(runs, self.run(runs), strict=True):
                loss = float(result.values[chooses_rate(self.setup.samples)].mean())
                judged[run.arm.name][run.rate] = math.inf if math.isnan(loss) else loss
            wanted = []
            for arm in arms:
                rates = sorted(judged[arm.name])
                best = best_rate(judged[arm.name])
                if best == rates[0]:
                    wanted.append((arm, best / ratio))
                elif best == rates[-1]:
                    wanted.append((arm, best * ratio))
        return judged


def compare_folder(
    job: Job,
    output: Path,
    setup: Setup | None = None,
    *,
    keep: Path | None = None,
    ablation: Ablation | None = None,
    device: str | None = None,
    checkpointing: bool = False,
    on_measuring: Progress = lambda *_: None,
    on_progress: Callable[[int, int], None] = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare plans on a folder of images; resumes what `output` holds.

    First measures the model on the images that are trained on, for the plans that are made from a
    measurement. Under `accelerate launch` every process trains its share, and all return the same.

    Args:
        job: model and data.
        output: the comparison's folder.
        setup: the settings.
        keep: a folder of images whose loss should not rise: how much of the model is kept.
        ablation: what it costs to skip each block, for the plan of that name.
        device: "cuda", "cpu", ...; by default a GPU where there is one.
        checkpointing: as for `Bench`.
        on_measuring: told how the measurement goes.
        on_progress: called with (steps done, steps in all that are known of) of this process.
        say: called with what a user should know of the folders, in the main process.

    Raises:
        LokrWeightingError: the model, the data or the folder cannot be used, a plan is not known or
            does not meet the budget, or too few images are there.
    """
    setup = setup or Setup()
    check_names(setup.plans)
    state, where = joined(device)
    job = replace(job, text_tokens=setup.text_tokens)
    told = say if state.is_main_process else lambda _: None
    prepared = job.prepare(setup.recipe.bins, where, told)
    trained, _ = parts_of(prepared.images, setup.held_out, job.seed)
    kept = None if keep is None else job.find_images(keep)
    for text in kept.remarks if kept else ():
        told(text)
    calibration, _ = calibrate_folder(
        prepared.on(trained),
        output / CALIBRATION,
        setup.recipe,
        device=device,
        gradients=wants_gradients(setup.plans, setup.recipe),
        on_progress=on_measuring,
    )
    skeleton = load_skeleton(str(prepared.pipeline))
    ground = ground_for(calibration, skeleton, setup.recipe, setup.budget, ablation=ablation)
    arms = arms_of(setup.plans, ground, setup.draws)
    job_settings = {**prepared.settings, "keep": kept and fingerprint(kept)}
    from_main(state.is_main_process, _begin, output, setup, job_settings, arms)
    bench = Bench(
        prepared,
        held_out=setup.held_out,
        samples=setup.samples,
        batch=setup.batch,
        keep=kept,
        checkpointing=checkpointing,
    )
    compares = ~chooses_rate(setup.samples)
    if len(set(bench.images[compares])) < 2:
        raise LokrWeightingError(
            f"samples = {setup.samples}: all that compare are of one image; draw more, or hold "
            "more images out"
        )
    share = state.process_index, state.num_processes
    comparing = _Comparing(bench, setup, output, share, on_progress)
    tuned = comparing.tuned(arms)
    rates = {name: best_rate(losses) for name, losses in tuned.items()}
    seeds = range(TUNING_SEED + 1, TUNING_SEED + 1 + setup.seeds)
    runs = [_Run(arm, rates[arm.name], seed) for seed in seeds for arm in arms]
    results: dict[str, list[RunFile]] = {}
    for run, result in zip(runs, comparing.run(runs), strict=True):
        results.setdefault(run.arm.name, []).append(result)
    base, base_kept = bench.losses()
    return Comparison(
        setup,
        dict(prepared.settings),
        ground.parameters,
        float(base[compares].mean()),
        float(base_kept.mean()) if base_kept.size else None,
        tuple(bench.images.tolist()),
        tuple(
            compared(arm, tuned[arm.name], results, setup, bench.images, bench.timesteps)
            for arm in arms
        ),
    )


def _begin(output: Path, setup: Setup, job: dict[str, Any], arms: Sequence[Arm]) -> None:
    """Write what is compared, or refuse a folder that holds another comparison."""
    file = output / SETUP
    for arm in arms:
        write_plan(output / PLANS / f"{arm.name}.plan.json", arm.plan)
    if not file.exists():
        write_json(file, {"setup": setup.model_dump(mode="json"), "job": job})
        return
    before = read_model(file, _SetupFile)
    check_same(output, "a comparison", before.setup, setup.model_dump(mode="json"))
    check_same(output, "a comparison", before.job, job, ADDED)


class _SetupFile(BaseModel):
    """`setup.json`."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    setup: dict[str, Any]
    job: dict[str, Any]
