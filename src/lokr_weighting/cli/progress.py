"""The calibration's progress bar."""

import warnings
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lokr_weighting.show.console import console

if TYPE_CHECKING:
    from lokr_weighting.plan.settled import Settled


class Bar:
    """Samples, speed, how settled the plan is, and the time to the next judgement.

    The bar's end is the number of samples at which the plan is judged next.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[settled]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console(stderr=True),
            disable=not enabled,
        )
        self.enabled = enabled
        self.task = self.progress.add_task("loading", total=None, speed="", settled="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def update(self, samples: int, next_check: int, settled: "Settled | None") -> None:
        """Show that `samples` are measured."""
        task = self.progress.tasks[0]
        self.progress.update(
            self.task,
            description="measuring",
            completed=samples,
            total=next_check,
            speed=f"{task.speed:.1f} samples/s" if task.speed else "",
            settled="" if settled is None else f"{settled.near:.0%} settled",
        )

    def gradients(self, run: int, samples: int) -> None:
        """Show that gradients of `run` samples were taken."""
        self.progress.update(
            self.task,
            description="gradients",
            completed=run,
            total=samples,
            speed="",
            settled="",
        )

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        if self.enabled:
            self.progress.console.print(text, markup=False)


def quiet_libraries() -> None:
    """Keep the loading bars and hints of diffusers and transformers off the screen."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module="diffusers|transformers")
