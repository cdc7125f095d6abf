"""Running the blocks otherwise, and what that costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lokr_weighting.cli import calibrating, options
from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from lokr_weighting.ablation import Ablation


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
    revision: calibrating.Revision = None,
    as_json: options.Json = False,
) -> None:
    """What each block is worth: the loss on your images with blocks skipped, repeated, reversed.

    Also says whether the distance that plans are made from predicted the damage.
    """
    job = calibrating.job_of(
        model, data, seed, resolution, False, 1, dtype, revision, quantization=None
    )
    if output.is_file():
        raise LokrWeightingError(f"{output}: is a file; give a folder's name with --output")
    from rich.progress import Progress

    from lokr_weighting.ablating import ablate_folder
    from lokr_weighting.ablation import file_of, ranks_of_skipping, write_ablation
    from lokr_weighting.cli.progress import quiet_libraries
    from lokr_weighting.experiment_tables import ablation_table
    from lokr_weighting.tables import console

    quiet_libraries()
    try:
        with Progress(console=console(stderr=True)) as progress:
            task = progress.add_task("running", total=None)
            found = ablate_folder(
                job,
                samples=samples,
                device=device,
                offload=offload,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except KeyboardInterrupt:
        typer.echo("\ninterrupted: nothing was written", err=True)
        raise typer.Exit(calibrating.INTERRUPTED) from None
    ranks = ranks_of_skipping(found)
    write_ablation(output / "ablation.json", found)
    _draw(found, output)
    if images:
        _draw_sheet(found, job.model, data, images, seed, resolution, device, output)
    if as_json:
        verdicts = [rank.verdict for rank in ranks]
        options.print_json(file_of(found).model_dump(mode="json") | {"verdicts": verdicts})
        return
    out = console()
    out.print(ablation_table(found))
    for rank in ranks:
        out.print(rank.verdict, markup=False)
    out.print(f"Wrote {output}: {', '.join(sorted(path.name for path in output.iterdir()))}")


def _draw(found: "Ablation", output: Path) -> None:
    from lokr_weighting.figures import ablation_figure, damage_figure

    ablation_figure(found).savefig(output / "ablation.png", dpi=150)
    damage_figure(found).savefig(output / "distance_and_damage.png", dpi=150)


def _draw_sheet(
    found: "Ablation",
    model: str,
    data: Path,
    count: int,
    seed: int,
    resolution: int | None,
    device: str | None,
    output: Path,
) -> None:
    from lokr_weighting.ablating import images_of
    from lokr_weighting.data.folder import find_images
    from lokr_weighting.figures import contact_sheet

    captions = sorted({caption for item in find_images(data).items for caption in item.captions})
    prompts = captions[:: max(1, len(captions) // count)][:count]
    strategies = [each.strategy for each in found.changes]
    size = {} if resolution is None else {"height": resolution, "width": resolution}
    rows = images_of(model, strategies, prompts, seed, device=device, **size)
    labels = ["as it is", *(strategy.label for strategy in strategies)]
    contact_sheet(rows, labels, prompts).savefig(output / "contact_sheet.png", dpi=100)
