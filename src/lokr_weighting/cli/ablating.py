"""Running the blocks otherwise, and what that costs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lokr_weighting.cli import calibrating, options
from lokr_weighting.processes import is_main

if TYPE_CHECKING:
    from rich.progress import Progress

    from lokr_weighting.ablation import Ablation
    from lokr_weighting.data.dataset import Job


def ablate(
    model: calibrating.PipelineModel,
    data: calibrating.Data,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the table and the figures.")
    ] = Path("ablation"),
    samples: Annotated[
        int, typer.Option(help="Images with captions and timesteps, the same for every strategy.")
    ] = 40,
    images: Annotated[
        int,
        typer.Option(min=0, help="Prompts to draw side by side, from the captions; 0: no sheet."),
    ] = 0,
    seed: calibrating.Seed = 0,
    resolution: calibrating.Resolution = None,
    dtype: calibrating.Dtype = None,
    device: calibrating.Device = None,
    offload: calibrating.OffloadMode = "none",
    quantization: calibrating.Quantization = None,
    revision: calibrating.Revision = None,
    as_json: options.Json = False,
) -> None:
    """What each block is worth: the loss on your images with blocks skipped, repeated, reversed.

    Also says whether the distance that plans are made from predicted the damage.
    """
    job = calibrating.job_of(model, data, seed, resolution, False, 1, dtype, revision, quantization)
    options.check_folder(output)
    from rich.progress import Progress

    from lokr_weighting.ablating import ablate_folder
    from lokr_weighting.ablation import file_of, ranks_of_skipping, write_ablation
    from lokr_weighting.cli.progress import quiet_libraries
    from lokr_weighting.experiment_tables import ablation_table
    from lokr_weighting.tables import console

    quiet_libraries()
    kept = "nothing was written"
    try:
        with Progress(console=console(stderr=True), disable=not is_main()) as progress:
            bar = _bar(progress, "running")
            found = ablate_folder(
                job, samples=samples, device=device, offload=offload, on_progress=bar
            )
            if not is_main():
                return
            write_ablation(output / "ablation.json", found)
            _draw(found, output)
            kept = f"{output} holds the table and its figures, but no contact sheet"
            if images:
                bar = _bar(progress, "drawing images")
                _draw_sheet(found, job, images, device, offload, output, bar)
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted: {kept}", err=True)
        raise typer.Exit(calibrating.INTERRUPTED) from None
    ranks = ranks_of_skipping(found)
    if as_json:
        verdicts = [rank.verdict for rank in ranks]
        options.print_json(file_of(found).model_dump(mode="json") | {"verdicts": verdicts})
        return
    out = console()
    out.print(ablation_table(found))
    for rank in ranks:
        out.print(rank.verdict, markup=False)
    out.print(f"Wrote {output}: {', '.join(sorted(path.name for path in output.iterdir()))}")


def _bar(progress: "Progress", what: str) -> Callable[[int, int], None]:
    """A new bar; a function that sets how far it is."""
    task = progress.add_task(what, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def _draw(found: "Ablation", output: Path) -> None:
    from lokr_weighting.figures import ablation_figure, damage_figure

    ablation_figure(found).savefig(output / "ablation.png", dpi=150)
    damage_figure(found).savefig(output / "distance_and_damage.png", dpi=150)


def _draw_sheet(
    found: "Ablation",
    job: "Job",
    count: int,
    device: str | None,
    offload: Any,
    output: Path,
    on_progress: Callable[[int, int], None],
) -> None:
    from lokr_weighting.ablating import images_of
    from lokr_weighting.data.folder import find_images
    from lokr_weighting.figures import contact_sheet

    captions = sorted({text for item in find_images(job.data).items for text in item.captions})
    prompts = captions[:: max(1, len(captions) // count)][:count]
    strategies = [each.strategy for each in found.changes]
    rows = images_of(job, strategies, prompts, device, offload, on_progress)
    labels = ["as it is", *(strategy.label for strategy in strategies)]
    contact_sheet(rows, labels, prompts).savefig(output / "contact_sheet.png", dpi=100)
