"""`ablate`: running the blocks otherwise, and what that costs."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lokr_weighting import stopping
from lokr_weighting.cli import options
from lokr_weighting.cli.outputs import Output, check_folder, check_outputs, json_with
from lokr_weighting.cli.running import Run
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.processes import is_main

FILES = (
    "ablation.json",
    "ablation.png",
    "distance_and_damage.png",
    "contact_sheet.png",
    "damage_by_timestep.png",
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from lokr_weighting.measure.job import Job
    from lokr_weighting.studies.ablation import Ablation
    from lokr_weighting.studies.groups import Grouping


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
        typer.Option(
            min=0,
            help="Prompts to draw side by side, from the captions; 0: no sheet. With --groups they "
            "are read too: whether captions are obeyed.",
        ),
    ] = 0,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="What `similarity` wrote, its folder or similarity.json: every strategy on each "
            "group in it instead of the middle halves, and the study's statements."
        ),
    ] = None,
    loops: Annotated[
        int, typer.Option(min=2, help="With --groups: how often the looped parallel runs a group.")
    ] = 3,
    orders: Annotated[
        int, typer.Option(min=1, help="With --groups: how many random orders of each group.")
    ] = 3,
    by_bin: Annotated[
        bool, typer.Option("--by-bin", help="With --groups: print every timestep bin's change.")
    ] = False,
    seed: options.Seed = 0,
    resolution: options.Resolution = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    offload: options.OffloadMode = "none",
    quantization: options.Quantization = None,
    revision: options.Revision = None,
    captions: options.Captions = None,
    frames: options.Frames = None,
    transformer: options.OneTransformer = None,
    force: options.Force = False,
    as_json: options.Json = False,
) -> None:
    """What each block is worth: the loss on your images with blocks skipped, repeated, reversed.

    Also says whether the distance that plans are made from predicted the damage.
    """
    if groups is None and (by_bin or loops != 3 or orders != 3):
        raise LokrWeightingError("--by-bin, --loops and --orders go with --groups; give it too")
    job = options.read_job(
        model=model,
        data=data,
        seed=seed,
        resolution=resolution,
        dtype=dtype,
        revision=revision,
        quantization=quantization,
        captions=captions,
        frames=frames,
        transformer=transformer,
    )
    run = Run(device, offload)
    check_folder(output)
    ours = json_with(output / FILES[0], "schema_version", "changes", "loss")
    given = [data, quantization, groups]
    check_outputs([Output(output / name, ours) for name in FILES], given, force)
    from rich.progress import Progress

    from lokr_weighting.cli.progress import quiet_libraries
    from lokr_weighting.show.console import console
    from lokr_weighting.studies.ablate import ablate_folder, ablate_groups
    from lokr_weighting.studies.ablation_file import write_ablation

    found: tuple[list[str], list[Grouping]] | None = None
    if groups is not None:
        from lokr_weighting.studies.groups_file import read_groups

        found = read_groups(groups)
    quiet_libraries()
    kept = "nothing was written"
    try:
        with Progress(console=console(stderr=True), disable=not is_main()) as progress:
            where: dict[str, Any] = {
                "samples": samples,
                "device": run.device,
                "offload": run.offload,
                "on_progress": _bar(progress, "running"),
                "say": lambda text: progress.console.print(text, markup=False),
            }
            if found is None:
                ablation = ablate_folder(job, **where)
            else:
                ablation = ablate_groups(job, *found, loops=loops, orders=orders, **where)
            if not is_main():
                return
            write_ablation(output / FILES[0], ablation)
            _draw(ablation, output)
            kept = f"{output} holds the table and its figures, but no contact sheet"
            if images:
                bar = _bar(progress, "drawing images")
                ablation = _draw_sheet(ablation, job, images, run, output / FILES[3], bar)
                write_ablation(output / FILES[0], ablation)
    except KeyboardInterrupt:
        stopping.say(kept)
        raise
    _show(ablation, as_json=as_json, by_bin=by_bin)
    if not as_json:
        files = ", ".join(name for name in sorted(FILES) if (output / name).exists())
        console().print(f"Wrote {output}: {files}", markup=False)


def _bar(progress: "Progress", what: str) -> Callable[[int, int], None]:
    """A new bar; a function that sets how far it is."""
    task = progress.add_task(what, total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def _show(ablation: "Ablation", *, as_json: bool, by_bin: bool) -> None:
    """Print the tables and the verdicts."""
    from lokr_weighting.show.console import console
    from lokr_weighting.show.painters_tables import (
        painters_remarks,
        painters_table,
        statements_remarks,
        statements_table,
    )
    from lokr_weighting.show.study_tables import ablation_table
    from lokr_weighting.studies.ablation_file import as_json as data_of
    from lokr_weighting.studies.damage import ranks_inside, ranks_of_skipping
    from lokr_weighting.studies.statements import answers_of

    ranks = [*ranks_of_skipping(ablation), *ranks_inside(ablation)]
    verdicts = [rank.verdict for rank in ranks]
    answers = answers_of(ablation) if ablation.spans else []
    if as_json:
        said = {} if not answers else {"statements": [_said(each) for each in answers]}
        options.print_json(data_of(ablation) | {"verdicts": verdicts} | said)
        return
    out = console()
    if ablation.spans:
        out.print(painters_table(ablation, by_bin=by_bin))
        for line in painters_remarks(ablation):
            out.print(line, markup=False)
        out.print(statements_table(answers))
        for line in statements_remarks():
            out.print(line, markup=False)
    else:
        out.print(ablation_table(ablation))
    for verdict in verdicts:
        out.print(verdict, markup=False)


def _said(answer: Any) -> dict[str, Any]:
    return asdict(answer) | {"verdict": answer.verdict}


def _draw(ablation: "Ablation", output: Path) -> None:
    from lokr_weighting.show.damage_figure import damage_by_bin_figure
    from lokr_weighting.show.figures import save_as
    from lokr_weighting.show.study_figures import ablation_figure, damage_figure

    save_as(ablation_figure(ablation), output / FILES[1])
    save_as(damage_figure(ablation), output / FILES[2])
    by_timestep = damage_by_bin_figure(ablation)
    if by_timestep is not None:
        save_as(by_timestep, output / FILES[4])


def _draw_sheet(
    ablation: "Ablation",
    job: "Job",
    count: int,
    run: Run,
    file: Path,
    on_progress: Callable[[int, int], None],
) -> "Ablation":
    """Draw images side by side; the ablation, with what captions can be read from them."""
    from lokr_weighting.show.console import console
    from lokr_weighting.show.figures import save_as
    from lokr_weighting.show.study_figures import contact_sheet
    from lokr_weighting.studies.contact_sheet import images_of
    from lokr_weighting.studies.obeyed import captions_obeyed, reader_of
    from lokr_weighting.studies.painters import drawn_strategies

    captions = sorted({text for item in job.find_images().items for text in item.captions})
    prompts = captions[:: max(1, len(captions) // count)][:count]
    strategies = drawn_strategies(ablation)
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
    if not ablation.spans:
        return ablation
    try:
        return replace(
            ablation, captions=captions_obeyed(reader_of(job), strategies, rows, prompts)
        )
    except LokrWeightingError as error:
        console(stderr=True).print(f"{error}", markup=False)
        return ablation
