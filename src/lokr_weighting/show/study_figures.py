"""Figures of what else was found out: ablations, the similarity of blocks, images side by side."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lokr_weighting.models.blocks import places_in_lists, ranges_of_lists
from lokr_weighting.show.figures import BLUE, COLOURS, DISTANCE, every_tick
from lokr_weighting.studies.ablation import Ablation
from lokr_weighting.studies.similarity import Similarity


def ablation_figure(ablation: Ablation) -> Figure:
    """What each strategy does to the loss, with standard errors."""
    count = len(ablation.changes)
    figure = Figure(figsize=(9, 1 + 0.25 * count), layout="constrained")
    ax = figure.subplots()
    labels = [each.strategy.label for each in ablation.changes]
    changes = [each.change for each in ablation.changes]
    errors = [each.error for each in ablation.changes]
    ax.barh(range(count), changes, xerr=errors, color=BLUE, ecolor="black", capsize=2)
    ax.set_yticks(range(count), labels)
    ax.invert_yaxis()
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set(xlabel=f"change of the loss ± standard error (as it is: {ablation.loss:.3f})")
    return figure


def damage_figure(ablation: Ablation) -> Figure:
    """Each block's distance beside what skipping it costs, for each stream."""
    damage = ablation.damage
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for ax, (stream, distances) in zip(
        figure.subplots(1, 2, sharey=True),
        (("image", ablation.image), ("text", ablation.text)),
        strict=True,
    ):
        for index, (name, distance) in enumerate(zip(ablation.blocks, distances, strict=True)):
            if name in damage and not np.isnan(distance):
                each = damage[name]
                ax.errorbar(distance, each.change, each.error, fmt="o", color=BLUE, ecolor="black")
                ax.annotate(f" {index}", (distance, each.change))
        ax.set(xlabel=f"{stream} stream: {DISTANCE}", ylabel="change of the loss when skipped")
    return figure


def similarity_figure(similarity: Similarity) -> Figure:
    """The similarity of every pair of blocks, for each stream, with the groups framed."""
    streams = [
        (stream, matrix)
        for stream, matrix in (("image", similarity.image), ("text", similarity.text))
        if not np.isnan(matrix).all()
    ]
    lowest = min(np.nanmin(matrix) for _, matrix in streams)
    figure = Figure(figsize=(6.5 * len(streams), 6.5), layout="constrained")
    for ax, (stream, matrix) in zip(
        np.array(figure.subplots(1, len(streams), squeeze=False))[0], streams, strict=True
    ):
        image = ax.imshow(matrix, cmap=COLOURS, vmin=lowest, vmax=1, interpolation="nearest")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks(range(0, len(matrix), every_tick(len(matrix))))
        ax.set(xlabel="\n".join(["block", *ranges_of_lists(similarity.blocks)]), ylabel="block")
        ax.set_title(f"{stream} stream", loc="left", pad=2)
        ax.set_label(f"{stream} similarity")
        for places in places_in_lists(similarity.blocks).values():
            for line in (ax.axhline, ax.axvline):
                line(places[0] - 0.5, color="white", linewidth=0.8, linestyle="--")
        named = []
        for _, first, last, name in similarity.groups_of(stream):
            corner, side = first - 0.5, last - first + 1
            for colour, width in (("white", 3), ("black", 1)):
                frame = Rectangle((corner, corner), side, side, fill=False)
                frame.set(edgecolor=colour, linewidth=width)
                ax.add_patch(frame)
            named.append(((first + last) / 2, name))
        upper = ax.secondary_xaxis("top")
        upper.set_xticks([place for place, _ in named], [name for _, name in named], rotation=45)
        for label in upper.get_xticklabels():
            label.set(ha="left", fontsize=8)
        figure.colorbar(image, ax=ax, label="mean cosine similarity", shrink=0.7)
    return figure


def contact_sheet(
    rows: Sequence[Sequence[Any]], labels: Sequence[str], prompts: Sequence[str]
) -> Figure:
    """Images side by side: a row for each label, a column for each prompt."""
    figure = Figure(figsize=(2.5 + 1.3 * len(prompts), 1.3 * len(rows)), layout="constrained")
    axes = np.array(figure.subplots(len(rows), len(prompts), squeeze=False))
    for row, label in enumerate(labels):
        for column, prompt in enumerate(prompts):
            ax = axes[row, column]
            ax.imshow(rows[row][column])
            ax.set_xticks([])
            ax.set_yticks([])
            if row == 0:
                ax.set_title(textwrap.fill(prompt, 20), fontsize=7)
        axes[row, 0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    return figure
