"""A comparison of plans: its table, its figures, its page."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Group, RenderableType
from rich.table import Table

from lokr_weighting.files import check_there, write_text
from lokr_weighting.show.figures import BLUE, ORANGE, save
from lokr_weighting.show.html import drawing, render
from lokr_weighting.studies.comparison import BINS, Compared, Comparison
from lokr_weighting.studies.paired import Paired
from lokr_weighting.studies.rivals import CLOSE, RIVALS

COLUMNS = (
    "plan",
    "parameters",
    "learning rate",
    "held-out loss",
    "difference (1e-3)",
    "95 % interval",
    "kept loss",
    "seconds",
    "peak memory",
)


def comparison_rows(comparison: Comparison) -> list[list[str]]:
    """One row a plan, under `COLUMNS`."""
    return [_row(each) for each in comparison.compared]


def comparison_table(comparison: Comparison) -> RenderableType:
    """The plans side by side."""
    table = Table(title="Plans at one budget", title_justify="left")
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in comparison_rows(comparison):
        table.add_row(*row)
    return Group(table, *comparison_remarks(comparison))


def comparison_remarks(comparison: Comparison) -> list[str]:
    """What the table's numbers are, in sentences."""
    setup = comparison.setup
    lines = [
        f"difference: of the held-out loss from {setup.reference}'s, on the same images, noise and "
        f"timesteps; less is better. As it is, the model's loss is {comparison.base:.4f}.",
        f"Each plan's learning rate was chosen by a run of its own on the other half of the "
        f"held-out samples, from {', '.join(f'{rate:g}' for rate in setup.rates)} and beyond where "
        "the best lay on the edge.",
    ]
    edge = [each.arm.name for each in comparison.compared if each.on_edge]
    if edge:
        lines.append(f"On the edge of what was tried (marked *): {', '.join(edge)}.")
    far = [
        f"{each.arm.name} ({each.arm.plan.parameters / comparison.parameters - 1:+.1%})"
        for each in comparison.compared
        if abs(each.arm.plan.parameters / comparison.parameters - 1) > CLOSE
    ]
    if far:
        lines.append(
            f"Splits are too coarse for the budget of {comparison.parameters:,} parameters to be "
            f"met within {CLOSE:.0%} by {', '.join(far)}."
        )
    if comparison.base_kept is not None:
        lines.append(
            f"kept loss: on the folder whose loss should not rise, {comparison.base_kept:.4f} as "
            "the model is."
        )
    groups: dict[str, list[Compared]] = {}
    for each in comparison.compared:
        groups.setdefault(each.arm.group, []).append(each)
    for name, drawn in groups.items():
        differences = [1000 * each.difference.mean for each in drawn if each.difference]
        if len(differences) > 1:
            lines.append(
                f"{name}: {len(differences)} draws, differences {min(differences):+.2f} to "
                f"{max(differences):+.2f}, mean {np.mean(differences):+.2f}."
            )
    return lines


def difference_figure(comparison: Comparison) -> Figure:
    """Each plan's difference from the reference with its interval."""
    shown = [each for each in comparison.compared if each.difference is not None]
    figure = Figure(figsize=(9, 1.2 + 0.4 * len(shown)), layout="constrained")
    ax = figure.subplots()
    for place, each in enumerate(shown):
        _interval(ax, place, each.difference, horizontal=True)
    ax.set_yticks(range(len(shown)), [each.arm.name for each in shown])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel=f"held-out loss minus {comparison.setup.reference}'s (1e-3), 95 % interval")
    return figure


def bins_figure(comparison: Comparison) -> Figure:
    """Each plan's difference in each timestep bin."""
    shown = [each for each in comparison.compared if each.difference is not None]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.6 * rows), layout="constrained")
    axes = np.array(figure.subplots(rows, columns, squeeze=False, sharey=True))
    for ax, each in zip(axes.flat, shown, strict=False):
        for place, interval in enumerate(each.by_bin):
            _interval(ax, (place + 0.5) / BINS, interval, horizontal=False)
        ax.axhline(0, color="black", linewidth=0.8)
        ax.set_title(each.arm.name, loc="left")
        ax.set(xlabel="timestep (1: noise)", ylabel="difference (1e-3)", xlim=(0, 1))
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    return figure


def rates_figure(comparison: Comparison) -> Figure:
    """The loss by which each plan's learning rate was chosen."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    ax = figure.subplots()
    markers = "osD^vPX*<>"
    colours = [BLUE, ORANGE, "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00"]
    for number, each in enumerate(comparison.compared):
        rates = sorted(rate for rate, loss in each.tried.items() if np.isfinite(loss))
        ax.plot(
            rates,
            [each.tried[rate] for rate in rates],
            marker=markers[number % len(markers)],
            color=colours[number % len(colours)],
            label=each.arm.name,
        )
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss on the choosing half")
    ax.legend(fontsize=8, ncols=2)
    return figure


def write_comparison(path: Path, comparison: Comparison) -> list[Path]:
    """Write the page and, beside it, every figure as PNG and SVG; the files."""
    figures = [
        (
            "differences",
            "Which plan is better",
            "Left of zero is better than the reference. An interval that holds zero shows no "
            "difference.",
            difference_figure(comparison),
        ),
        (
            "timesteps",
            "At which timesteps",
            "The same, in each timestep bin; many intervals, so some leave zero out by chance.",
            bins_figure(comparison),
        ),
        (
            "rates",
            "How the learning rates were chosen",
            "One run of each plan at each rate, on the half of the held-out samples that chooses.",
            rates_figure(comparison),
        ),
    ]
    page = render(
        "comparison.html.j2",
        title=f"Plans compared on {comparison.job.get('model', 'a model')}",
        verdicts=comparison.verdicts,
        columns=COLUMNS,
        rows=comparison_rows(comparison),
        remarks=comparison_remarks(comparison),
        figures=[drawing(figure, name, title, caption) for name, title, caption, figure in figures],
        facts=_facts(comparison),
    )
    write_text(path, page)
    folder = path.with_suffix(".figures")
    files = [path]
    for name, _, _, figure in figures:
        files += save(figure, folder / name)
    if not path.exists():
        # the folder was removed meanwhile: figures without their page would be nobody's
        write_text(path, page)
    check_there(files)
    return files


def _facts(comparison: Comparison) -> list[tuple[str, object]]:
    setup, job = comparison.setup, comparison.job
    names = {each.arm.group for each in comparison.compared}
    rows = [(name, RIVALS[name].description) for name in RIVALS if name in names]
    return [
        *rows,
        ("budget", f"{setup.budget}: {comparison.parameters:,} trainable parameters"),
        ("trainings", f"{setup.seeds} of each plan, {setup.steps} steps of {setup.batch}"),
        (
            "held out",
            f"{len(set(comparison.held_out))} images, {setup.samples // 2} samples to compare on",
        ),
        *((key, job[key]) for key in ("images", "data", "weights", "resolution", "dtype", "seed")),
        ("text tokens", setup.text_tokens or "the pipeline's own"),
    ]


def _row(each: Compared) -> list[str]:
    difference = each.difference
    return [
        each.arm.name,
        f"{each.arm.plan.parameters:,}",
        f"{each.rate:.2g}{'*' if each.on_edge else ''}",
        "diverged" if each.loss is None else f"{each.loss:.4f}",
        "-" if difference is None else f"{1000 * difference.mean:+.2f}",
        "-"
        if difference is None
        else f"{1000 * difference.low:+.2f} to {1000 * difference.high:+.2f}",
        "-" if each.kept is None else f"{each.kept:.4f}",
        f"{each.seconds:.1f}",
        f"{each.peak_bytes / 2**20:,.0f} MiB",
    ]


def _interval(ax: Axes, place: float, each: Paired | None, *, horizontal: bool) -> None:
    if each is None:
        return
    mean, low, high = (1000 * value for value in (each.mean, each.low, each.high))
    half = [[mean - low], [high - mean]]
    style = {
        "fmt": "o",
        "color": ORANGE if each.shown else BLUE,
        "ecolor": "black",
        "capsize": 2,
    }
    if horizontal:
        ax.errorbar([mean], [place], xerr=half, **style)
    else:
        ax.errorbar([place], [mean], yerr=half, **style)
