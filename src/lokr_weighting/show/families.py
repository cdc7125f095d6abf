"""The table of families: what is known of each, and which ways of measuring it there are."""

from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table

from lokr_weighting.models.family import Streams
from lokr_weighting.models.table import family_files
from lokr_weighting.models.trainers import SIMPLETUNER_VERSION

COLUMNS = ("family", "classes", "blocks and streams", "flag", "generate", "known by name", "tested")
MEANINGS = {
    "flag": f"what SimpleTuner {SIMPLETUNER_VERSION} calls the family (`model_family`), where its "
    "own batches can be measured by one argument of the training",
    "generate": "the pipelines that `generate`, `calibrate`, `ablate` and `compare` can run",
    "known by name": "models whose architecture needs no network: for `plan`, `verify` and "
    "`inspect`",
    "tested": "what the family's numbers were tested on",
}
"""A column -> what is in it."""
ALWAYS = (
    "Every family can be measured by a loop of your own (lokr_weighting.calibrate), and its plan "
    "trained with peft or LyCORIS."
)


@dataclass(frozen=True)
class FamilyRow:
    """A family in the table.

    Attributes:
        family: its name.
        classes: its transformers' classes.
        blocks: a block list's name -> which streams run through it.
        flag: SimpleTuner's name for it; None where it cannot be measured there.
        generate: the classes of pipelines that can be run.
        checkpoints: a model's name -> where the numbers of its architecture are from.
        tested: what it was tested on.
    """

    family: str
    classes: tuple[str, ...]
    blocks: dict[str, str]
    flag: str | None
    generate: tuple[str, ...]
    checkpoints: dict[str, str]
    tested: tuple[str, ...]

    @property
    def cells(self) -> tuple[list[str], ...]:
        """What is in each column, a line each."""
        return (
            [self.family],
            list(self.classes),
            [f"{path}: {streams}" for path, streams in self.blocks.items()],
            [self.flag or "-"],
            list(self.generate) or ["-"],
            list(self.checkpoints) or ["-"],
            list(self.tested) or ["-"],
        )


def family_rows() -> list[FamilyRow]:
    """Every family that comes with the package."""
    return [
        FamilyRow(
            file.name,
            file.classes,
            {blocks.path: streams_in_words(blocks.streams) for blocks in file.lists},
            None
            if file.simpletuner is None or file.simpletuner.refused
            else ", ".join((file.simpletuner.model_family, *file.simpletuner.also)),
            tuple(file.pipelines),
            {name: each.source for name, each in file.checkpoints.items()},
            file.tested,
        )
        for file in family_files()
    ]


def streams_in_words(streams: Streams) -> str:
    """Which streams run through a list's blocks."""
    if streams.joined is not None:
        return f"both in one, {streams.joined}"
    if streams.image_in is None:
        return "text alone"
    return "image alone" if streams.text_in is None else "image and text"


def families_table(rows: list[FamilyRow]) -> Table:
    """One row a family."""
    table = Table(title="Families of models", title_justify="left", box=box.SIMPLE)
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape("\n".join(lines)) for lines in row.cells), end_section=True)
    return table


def families_page(rows: list[FamilyRow]) -> str:
    """The page of the documentation, in Markdown."""
    head = ["# Families of models", ALWAYS.replace("lokr_weighting.calibrate", "`calibrate`")]
    head.append(
        "`lokr-weighting families` prints this table; `--propose MODEL` watches a small random "
        "model of a class that is not in it, and prints a row to check and to register."
    )
    meanings = [f"- **{column}**: {meaning}." for column, meaning in MEANINGS.items()]
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        "|" + " --- |" * len(COLUMNS),
        *(f"| {' | '.join('<br>'.join(lines) for lines in row.cells)} |" for row in rows),
    ]
    sources = [
        "| model | numbers from |",
        "| --- | --- |",
        *(
            f"| {name} | {source} |"
            for row in rows
            for name, source in sorted(row.checkpoints.items())
        ),
    ]
    parts = ["\n\n".join(head), "\n".join(meanings), "\n".join(lines)]
    parts += ["## Known by name", "\n".join(sources)]
    return "\n\n".join(parts) + "\n"
