"""The folder that is shared: a calibration without anything of the user's, its card and figure."""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import jinja2
import numpy as np
from huggingface_hub import DatasetCard, DatasetCardData

from lokr_weighting.files import write_text
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.contents import read_summary
from lokr_weighting.records.sharing import CARD, FIGURE, write_shared
from lokr_weighting.show.figures import save_as
from lokr_weighting.show.notebook import heatmaps_figure
from lokr_weighting.show.report.content import FACTS

DPI = 100
NOT_HERE = ("model", "datasets", "shares")


def write_card_and_numbers(
    calibration: Calibration, source: Path, folder: Path, *, repository: str, license_name: str
) -> None:
    """Write all that is uploaded, and nothing else.

    Args:
        calibration: what `shareable` gave.
        source: the folder that it was read from.
        folder: a new or empty folder.
        repository: the hub id that it will have.
        license_name: as the Hub knows it, e.g. "cc-by-4.0".

    Raises:
        OutputError: it cannot be written.
    """
    write_shared(calibration, source, folder)
    figure = heatmaps_figure(calibration.heatmaps(calibration.settings.get("bins", 10)))
    save_as(figure, folder / FIGURE, DPI)
    write_text(folder / CARD, card_of(calibration, folder, repository, license_name))


def card_of(calibration: Calibration, folder: Path, repository: str, license_name: str) -> str:
    """The card: what was measured and how, in Markdown with the Hub's header.

    Args:
        calibration: what is shared.
        folder: where it was written.
        repository: its hub id.
        license_name: as the Hub knows it.
    """
    model, summary = str(calibration.model), read_summary(folder)
    heatmaps = calibration.heatmaps(calibration.settings.get("bins", 10))
    data = DatasetCardData(
        license=license_name,
        pretty_name=f"Calibration of {model}",
        tags=["lokr-weighting", "calibration", "diffusion"],
    )
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lokr_weighting", "show"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        # Markdown: there is no markup to be kept out of
        autoescape=False,
    )
    text = environment.get_template("card.md.j2").render(
        title=f"Calibration of {model}",
        model=f"[{model}](https://huggingface.co/{model})" if "/" in model else model,
        model_option="" if "/" in model else f" --model {model}",
        bins=heatmaps.bins,
        samples=f"{len(calibration.records):,}",
        version=calibration.versions.get("lokr-weighting", metadata.version("lokr-weighting")),
        repository=repository,
        figure=FIGURE,
        facts=_facts(calibration),
        settled=_settled(summary.settled, summary.near),
        rows=_rows(calibration, heatmaps.image_error, heatmaps.text_error),
        license=license_name,
    )
    return str(DatasetCard(f"---\n{data}\n---\n\n{text}"))


def _facts(calibration: Calibration) -> list[tuple[str, str]]:
    settings = calibration.settings
    facts = {
        label: settings[key]
        for key, label in FACTS.items()
        if key not in NOT_HERE and settings.get(key) is not None
    }
    facts |= {
        "samples": len(calibration.records),
        "samples not finite": len(calibration.not_finite),
    }
    facts |= {"timestep bins": settings.get("bins", 10), "blocks": len(calibration.blocks)}
    facts |= {f"{name}": version for name, version in calibration.versions.items()}
    return [(name, str(value)) for name, value in facts.items()]


def _settled(settled: bool, near: float | None) -> str:
    if near is None:
        return "How settled a plan made of it is was not judged."
    how = "settled" if settled else "not settled"
    return f"The plan was {how}: {near:.0%} of resamples gave it within one split of every Linear."


def _rows(
    calibration: Calibration, image: np.ndarray | None, text: np.ndarray | None
) -> list[Sequence[str]]:
    heatmaps = calibration.heatmaps(calibration.settings.get("bins", 10))

    def number(means: np.ndarray, errors: np.ndarray | None, block: int) -> str:
        if np.isnan(means[block]):
            return "-"
        return f"{means[block]:.4f}" + ("" if errors is None else f" ± {errors[block]:.4f}")

    means = heatmaps.image.mean(axis=0), heatmaps.text.mean(axis=0)
    return [
        (f"`{name}`", number(means[0], image, block), number(means[1], text, block))
        for block, name in enumerate(calibration.blocks)
    ]
