"""The numbers behind a report's figures: what the pointer shows of a cell or a bar."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lokr_weighting.plan.plan import Plan
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.show.cells import Grid
from lokr_weighting.show.findings import findings_at
from lokr_weighting.show.plan_tables import block_rows
from lokr_weighting.studies.findings import Finding
from lokr_weighting.studies.similarity import Similarity


def grids_of(
    heatmaps: Heatmaps,
    plan: Plan,
    findings: Sequence[Finding] = (),
    similarity: Similarity | None = None,
) -> dict[str, Grid]:
    """Every grid of a report, by the label of the axes that it lies on."""
    grids = {
        stream: _stream(heatmaps, plan, findings, stream)
        for stream, has in (("image", heatmaps.has_image), ("text", heatmaps.has_text))
        if has.any()
    }
    both = np.flatnonzero(heatmaps.has_image & heatmaps.has_text)
    if both.size:
        pairs = (heatmaps.image[:, both], heatmaps.text[:, both])
        cells = [
            [
                f"image {image:.4f}, text {text:.4f}, mean {(image + text) / 2:.4f}"
                for image, text in zip(*row, strict=True)
            ]
            for row in zip(*pairs, strict=True)
        ]
        notes = _notes(findings, both)
        grids["both"] = Grid("both streams", _names(plan, both), _bins(heatmaps), cells, notes)
    grids |= _bars(plan)
    if similarity is not None:
        blocks = range(len(similarity.blocks))
        named = [f"block {block} ({similarity.blocks[block]})" for block in blocks]
        for stream, matrix in (("image", similarity.image), ("text", similarity.text)):
            cells = [["-" if np.isnan(x) else f"cosine {x:.4f}" for x in row] for row in matrix]
            rows = [f"and block {block}" for block in blocks]
            title = f"similarity, {stream} stream"
            grids[f"{stream} similarity"] = Grid(title, named, rows, cells, [""] * len(blocks))
    return grids


def _stream(heatmaps: Heatmaps, plan: Plan, findings: Sequence[Finding], stream: str) -> Grid:
    """One stream's distances, over the blocks that have it."""
    heatmap, has, errors = {
        "image": (heatmaps.image, heatmaps.has_image, heatmaps.image_error),
        "text": (heatmaps.text, heatmaps.has_text, heatmaps.text_error),
    }[stream]
    blocks = np.flatnonzero(has)
    own = [each for each in findings if each.stream in (stream, None)]
    notes = []
    for block, found in zip(blocks, _notes(own, blocks), strict=True):
        error = "" if errors is None else f" ±{errors[block]:.4f}"
        notes.append(f"block's mean {heatmap[:, block].mean():.4f}{error}\n{found}".strip())
    cells = [[f"distance {value:.4f}" for value in row] for row in heatmap[:, blocks]]
    return Grid(f"{stream} stream", _names(plan, blocks), _bins(heatmaps), cells, notes)


def _bars(plan: Plan) -> dict[str, Grid]:
    """What a bar chart's blocks get: the plan's row of each."""
    blocks = np.arange(len(plan.blocks))
    said = [
        f"contribution {row[3]}, factor {row[4]}\nsplits {row[5] or '-'} (ff, modulation); "
        f"{row[6] or '-'} (others)\n{row[7]} parameters, {row[8]}"
        for row in block_rows(plan)
    ]
    names = _names(plan, blocks)
    return {
        name: Grid(title, names, [""], [said], [""] * len(names))
        for name, title in (
            ("factor", "factors"),
            ("contribution", "contributions"),
            ("share", "parameters"),
        )
    }


def _names(plan: Plan, blocks: np.ndarray) -> list[str]:
    return [f"block {block} ({plan.blocks[block].name})" for block in blocks]


def _bins(heatmaps: Heatmaps) -> list[str]:
    edges = np.linspace(0, 1, heatmaps.bins + 1)
    return [f"timesteps {low:.2g} to {high:.2g}" for low, high in pairwise(edges)]


def _notes(findings: Sequence[Finding], blocks: np.ndarray) -> list[str]:
    return [findings_at(findings, int(block)) for block in blocks]
