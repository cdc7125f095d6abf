"""`similarity.json`, read for the groups in it."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_model
from lokr_weighting.models.blocks import places_in_lists
from lokr_weighting.studies.groups import Group, Grouping

FILE = "similarity.json"
Matrix = list[list[float | None]]


class GroupEntry(BaseModel):
    """A `Group`; the similarity of a single block is null."""

    model_config = ConfigDict(extra="forbid")

    name: str
    first: int
    last: int
    similarity: float | None
    kept: float
    near: float

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 <= self.first <= self.last:
            raise ValueError(f"goes from block {self.first} to {self.last}")
        return self


class GroupingEntry(BaseModel):
    """A `Grouping`."""

    model_config = ConfigDict(extra="forbid")

    path: str
    stream: Literal["image", "text"]
    groups: list[GroupEntry]
    explained: float
    by_depth: float
    error: float
    same: float


class SimilarityFile(BaseModel):
    """The file that `similarity` writes."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1]
    model: str | None
    blocks: list[str]
    samples: int
    image: Matrix
    text: Matrix
    image_error: Matrix | None
    text_error: Matrix | None
    groupings: list[GroupingEntry]

    @model_validator(mode="after")
    def _of_these_blocks(self) -> Self:
        lists = places_in_lists(self.blocks)
        for each in self.groupings:
            count = len(lists.get(each.path, ()))
            if not each.groups or any(group.last >= count for group in each.groups):
                raise ValueError(f"groupings: {each.path} has {count} blocks, its groups others")
        return self


def read_groups(path: Path) -> tuple[list[str], list[Grouping]]:
    """The blocks and the groups in what `similarity` wrote.

    Args:
        path: its folder, or the similarity.json in it.

    Raises:
        LokrWeightingError: there is no such file, or it is not one that `similarity` wrote.
    """
    if path.is_dir() and not (path / FILE).exists():
        raise LokrWeightingError(
            f"{path}: holds no {FILE}; measure with calibrate --similarity, then write it with the "
            "command similarity"
        )
    file = read_model(path / FILE if path.is_dir() else path, SimilarityFile)
    groupings = [
        Grouping(
            each.path,
            each.stream,
            tuple(
                Group(
                    group.name,
                    group.first,
                    group.last,
                    float("nan") if group.similarity is None else group.similarity,
                    group.kept,
                    group.near,
                )
                for group in each.groups
            ),
            each.explained,
            each.by_depth,
            each.error,
            each.same,
        )
        for each in file.groupings
    ]
    return file.blocks, groupings
