"""Findings in words: a sentence each, how sure it is, and what it means for a plan."""

from collections.abc import Callable, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table

from lokr_weighting.studies.findings import Finding, Kind

LEAST = 0.001  # of p that is written as a number
COLUMNS = ("finding", "stream", "block", "how much", "p", "in resamples")
TITLES: dict[Kind, str] = {
    "critical": "Critical blocks",
    "idle": "Idle blocks",
    "island": "Islands",
    "gradient": "Gradients",
    "both ends": "High at both ends",
    "joint": "Joint work",
}
MEANINGS: dict[Kind, str] = {
    "critical": "A plan gives critical blocks factor 1, and so most of its parameters; --budget "
    "and --set critical=off limit that.",
    "idle": "A plan gives idle blocks its largest factors. They may still matter for what your "
    "images do not show.",
    "island": "A plan gives an island finer splits, by the weight of its stream: where a block "
    "has both, text counts a third, the image two thirds, unless --set text_weight and "
    "image_weight say otherwise.",
    "gradient": "Such blocks work at one end of the timesteps. Plans average over all of them; a "
    "trainer that draws few noisy (or few clean) timesteps trains these blocks less.",
    "both ends": "Such blocks may do two things, one on noise and one on detail. Plans average "
    "over both.",
    "joint": "Such blocks may join text and image; both streams ask for capacity there.",
}
SIZES: dict[Kind, Callable[[float], str]] = {
    "critical": lambda size: f"above the recipe's percentile in {size:.0%} of the timestep bins",
    "idle": lambda size: f"{size:.0%} of the median block's distance",
    "island": lambda size: f"{size:.1f} times the mean of the other blocks",
    "gradient": lambda size: (
        f"{'rises' if size > 0 else 'falls'} by {abs(size):.0%} of its mean towards noise"
    ),
    "both ends": lambda size: f"both ends {size:.0%} of its mean above the lowest point between",
    "joint": lambda size: (
        f"both streams {'rise' if size > 0 else 'fall'} by {abs(size):.0%} or more towards noise"
    ),
}


def headlines(findings: Sequence[Finding]) -> list[str]:
    """All of one kind and stream in one line, with the blocks' numbers."""
    lines = []
    for _, group in groupby(findings, lambda each: (each.kind, each.stream)):
        own = list(group)
        kind, blocks = own[0].kind, [each.blocks for each in own]
        whose = own[0].stream or "both streams"
        if kind == "island":
            where = ", ".join(blocks_label(each) for each in blocks)
        else:
            where = blocks_label([block for (block,) in blocks])
        lines.append(f"{TITLES[kind]}, {whose}: {where}")
    return lines


def blocks_label(blocks: Sequence[int]) -> str:
    """Numbers, neighbours drawn together: 1, 3 to 5."""
    runs: list[list[int]] = []
    for block in blocks:
        if runs and block == runs[-1][-1] + 1:
            runs[-1].append(block)
        else:
            runs.append([block])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def findings_at(findings: Sequence[Finding], block: int) -> str:
    """What was found at a block, in few words: "critical (image, text), island 19 to 31 (text)"."""
    streams: dict[str, list[str]] = {}
    for each in findings:
        if block in each.blocks:
            streams.setdefault(_kind(each), []).append(each.stream or "both")
    return ", ".join(f"{kind} ({', '.join(whose)})" for kind, whose in streams.items())


def sentence(finding: Finding) -> str:
    """A finding as a sentence, with how sure it is."""
    many = len(finding.blocks) > 1
    whose = f"{'Blocks' if many else 'Block'} {blocks_label(finding.blocks)}"
    stream = "both streams" if finding.stream is None else f"the {finding.stream} stream"
    said = f"{whose}, {stream}: {_size(finding)}"
    sure = [_p(finding), _kept(finding)]
    known = [each for each in sure if each]
    return f"{said} ({', '.join(known)})." if known else f"{said}."


def findings_table(findings: Sequence[Finding]) -> RenderableType:
    """One row a finding."""
    table = Table(title="What the heatmaps say")
    for name in COLUMNS:
        table.add_column(
            name, justify="right" if name in ("block", "p", "in resamples") else "left"
        )
    for row in finding_rows(findings):
        table.add_row(*row)
    return table


def finding_rows(findings: Sequence[Finding]) -> list[list[str]]:
    """The cells of `COLUMNS`."""
    return [
        [
            TITLES[each.kind],
            each.stream or "both",
            blocks_label(each.blocks),
            _size(each),
            "" if each.p is None else _number(each.p),
            "" if each.kept is None else f"{each.kept:.0%}",
        ]
        for each in findings
    ]


def findings_remarks(findings: Sequence[Finding], *, samples_known: bool) -> list[str]:
    """What the findings mean for a plan, and how sure they can be."""
    kinds: dict[Kind, None] = dict.fromkeys(each.kind for each in findings)
    said = [f"{TITLES[kind]}: {MEANINGS[kind]}" for kind in kinds]
    absent = [title for kind, title in TITLES.items() if kind not in kinds]
    if absent:
        said.append(f"Not found: {', '.join(absent).lower()}.")
    sure = (
        "p is how often as much is found where there is nothing, corrected for all blocks of both "
        "streams"
    )
    said.append(
        f"{sure}; the last column is the share of resamples of your samples that say so too."
        if samples_known
        else f"{sure}, by the timestep bins' means alone: these heatmaps' samples are not known."
    )
    return said


def _size(finding: Finding) -> str:
    """How much, in words."""
    said = SIZES[finding.kind](finding.size)
    averaged = finding.kind == "idle" and finding.stream is None
    return f"{said}, over both streams" if averaged else said


def _kind(finding: Finding) -> str:
    """The kind of a finding, an island with its blocks, a gradient with its direction."""
    if finding.kind == "island":
        return f"island {blocks_label(finding.blocks)}"
    if finding.kind == "gradient":
        return f"{'rises' if finding.size > 0 else 'falls'} towards noise"
    return finding.kind


def _p(finding: Finding) -> str:
    if finding.p is None:
        return ""
    return f"p {_number(finding.p)}" if finding.p < LEAST else f"p = {_number(finding.p)}"


def _number(p: float) -> str:
    return f"< {LEAST}" if p < LEAST else f"{p:.3f}"


def _kept(finding: Finding) -> str:
    return "" if finding.kept is None else f"in {finding.kept:.0%} of resamples"
