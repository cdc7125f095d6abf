"""The tables of what else measurements show: differences, ablations, groups of blocks."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from lokr_weighting.studies.ablation import Ablation
from lokr_weighting.studies.diff import Difference, Moved
from lokr_weighting.studies.similarity import Similarity

GROUP_COLUMNS = ("blocks", "stream", "group", "from", "to", "similarity", "kept", "kept within one")


def differences_table(differences: Sequence[Difference]) -> RenderableType:
    """The blocks and streams in which two measurements differ beyond chance."""
    beyond = [each for each in differences if each.beyond_chance]
    if not beyond:
        return f"No difference beyond chance in {len(differences)} blocks and streams."
    table = Table(title="Mean distances that differ beyond chance", title_justify="left")
    for name in ("block", "stream", "A", "B", "B - A", "standard errors"):
        table.add_column(name, justify="right")
    for each in sorted(beyond, key=lambda each: -abs(each.z)):
        table.add_row(
            str(each.block),
            each.stream,
            f"{each.a:.4f}",
            f"{each.b:.4f}",
            f"{each.b - each.a:+.4f} ±{each.error:.4f}",
            f"{each.z:+.1f}",
        )
    return table


def moved_table(moved: Sequence[Moved]) -> RenderableType:
    """The blocks that two plans treat differently."""
    if not moved:
        return "The plans are the same, split for split."
    table = Table(title="What changes in the plan", title_justify="left")
    for name in ("block", "factor A", "factor B", "parameters A", "parameters B"):
        table.add_column(name, justify="right")
    for each in moved:
        table.add_row(
            str(each.block),
            str(each.factor_a or "-"),
            str(each.factor_b or "-"),
            f"{each.parameters_a:,}",
            f"{each.parameters_b:,}",
        )
    return table


def ablation_table(ablation: Ablation) -> RenderableType:
    """What each strategy does to the loss."""
    title = f"Loss as it is: {ablation.loss:.4f}; change when the blocks are run otherwise"
    table = Table(title=title, title_justify="left")
    table.add_column("strategy")
    for name in ("change of the loss", "of the loss", "most at timesteps"):
        table.add_column(name, justify="right")
    for each in ablation.changes:
        worst = int(each.by_bin.argmax())
        bins = len(each.by_bin)
        table.add_row(
            each.strategy.label,
            f"{each.change:+.4f} ±{each.error:.4f}",
            f"{each.change / ablation.loss:+.0%}",
            f"{worst / bins:.1f} to {(worst + 1) / bins:.1f} ({each.by_bin[worst]:+.3f})",
        )
    return table


def groups_table(similarity: Similarity) -> RenderableType:
    """The groups of blocks in each list and stream."""
    table = Table(title="Groups of blocks that point the same way", title_justify="left")
    for number, name in enumerate(GROUP_COLUMNS):
        table.add_column(name, justify="left" if number < 3 else "right")
    for row in group_rows(similarity):
        table.add_row(*row)
    return Group(table, *groups_remarks(similarity))


def group_rows(similarity: Similarity) -> list[list[str]]:
    """One row a group, under `GROUP_COLUMNS`."""
    return [
        [
            each.path,
            each.stream,
            group.name,
            str(group.first),
            str(group.last),
            "-" if group.first == group.last else f"{group.similarity:.3f}",
            f"{group.kept:.0%}",
            f"{group.near:.0%}",
        ]
        for each in similarity.groupings
        for group in each.groups
    ]


def groups_remarks(similarity: Similarity) -> list[str]:
    """What the groups mean, in sentences."""
    lines = [
        "from, to: blocks' numbers in their list. similarity: the mean cosine of the group's pairs "
        "of blocks. kept: the share of resamples of the samples that have this very group; within "
        "one: with each end at most a block away."
    ]
    for each in similarity.groupings:
        where = f"{each.path}, {each.stream} stream: "
        if len(each.groups) == 1:
            lines.append(
                f"{where}no groups beyond what depth alone explains ({each.same:.0%} of the "
                "resamples say so)."
            )
        else:
            beyond = each.explained - each.by_depth
            lines.append(
                f"{where}{len(each.groups)} groups (as many in {each.same:.0%} of the resamples) "
                f"take {each.explained:.1%} of the scatter away, {beyond:.2%} "
                f"±{each.error:.2%} more than where similarity depended on depth alone."
            )
    return lines
