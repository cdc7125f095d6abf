"""`ablate`: running the blocks otherwise, and what that costs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lokr_weighting import stopping
from lokr_weighting.cli import options
from lokr_weighting.cli.outputs import Output, check_folder, check_outputs, json_with
from lokr_weighting.cli.running import Run
from lokr_weighting.processes import is_main

FILES = ("ablation.json", "ablation.png", "distance_and_damage.png", "contact_sheet.png")

if TYPE_CHECKING:
    from rich.progress import Progress

    from lokr_weighting.measure.job import Job
    from lokr_weighting.studies.ablation import Ablation


def ablate(
    model: options.PipelineModel,
    data: options.Data,
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
    seed: options.Seed = 0,
    resolution: options.Resolution = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    offload: options.OffloadMode = "none",
    quantization: options.Quantization = None,
    revision: options.Revision = None,
    captions: options.Captions = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """What each block is worth: the loss on your images with blocks skipped, repeated, reversed.

    Also says whether the distance that plans are made from predicted the damage.
    """
    job = options.read_job(
        model=model,
        data=data,
        seed=seed,
        resolution=resolution,
        dtype=dtype,
        revision=revision,
        quantization=quantization,
        captions=captions,
    )
    run = Run(device, offload)
    check_folder(output)
    ours = json_with(output / FILES[0], "schema_version", "changes", "loss")
    check_outputs([Output(output / name, ours) for name in FILES], [data, quantization], force)
    from rich.progress import Progress

    from lokr_weighting.cli.progress import quiet_libraries
    from lokr_weighting.show.console import console
    from lokr_weighting.show.study_tables import ablation_table
    from lokr_weighting.studies.ablate import ablate_folder
    from lokr_weighting.studies.ablation_file import write_ablation
    from lokr_weighting.studies.damage import ranks_of_skipping

    quiet_libraries()
    kept = "nothing was written"
    try:
        with Progress(console=console(stderr=True), disable=not is_main()) as progress:
            ablation = ablate_folder(
                job,
                samples=samples,
                device=run.device,
                offload=run.offload,
                on_progress=_bar(progress, "running"),
                say=lambda text: progress.console.print(text, markup=False),
            )
            if not is_main():
                return
            write_ablation(output / FILES[0], ablation)
            _draw(ablation, output)
            kept = f"{output} holds the table and its figures, but no contact sheet"
            if images:
                bar = _bar(progress, "drawing images")
                _draw_sheet(ablation, job, images, run, output / FILES[3], bar)
    except KeyboardInterrupt:
        stopping.say(kept)
        raise
    verdicts = [rank.verdict for rank in ranks_of_skipping(ablation)]
    if as_json:
        options.print_json(ablation.as_json() | {"verdicts": verdicts})
        return
    out = console()
    out.print(ablation_table(ablation))
    for verdict in verdicts:
        out.print(verdict, markup=False)
    out.print(f"Wrote {output}: {', '.join(sorted(path.name for path in output.iterdir()))}")


def _bar(progress: "Progress", what: str) -> Callable[[int, int], None]:
    """A new bar; a function that sets how far it is."""
    task = progress.add_task(what, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def _draw(ablation: "Ablation", output: Path) -> None:
    from lokr_weighting.show.figures import save_as
    from lokr_weighting.show.study_figures import ablation_figure, damage_figure

    save_as(ablation_figure(ablation), output / FILES[1])
    save_as(damage_figure(ablation), output / FILES[2])


def _draw_sheet(
    ablation: "Ablation",
    job: "Job",
    count: int,
    run: Run,
    file: Path,
    on_progress: Callable[[int, int], None],
) -> None:
    from lokr_weighting.data.folder import find_images
    from lokr_weighting.show.figures import save_as
    from lokr_weighting.show.study_figures import contact_sheet
    from lokr_weighting.studies.contact_sheet import images_of

    captions = sorted(
        {text for item in find_images(job.data, job.captions).items for text in item.captions}
    )
    prompts = captions[:: max(1, len(captions) // count)][:count]
    strategies = [each.strategy for each in ablation.changes]
    rows = images_of(
        job,
        strategies,
        prompts,
        device=run.device,
        offload=run.offload,
        on_progress=on_progress,
    )
    labels = ["as it is", *(strategy.label for strategy in strategies)]
    save_as(contact_sheet(rows, labels, prompts), file, dpi=100)
