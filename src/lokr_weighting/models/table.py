"""The table of families: one JSON file for each in `families/`, and what users register."""

import json
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import checked
from lokr_weighting.models.family import BlockList, Checkpoint, Family, Streams
from lokr_weighting.models.model_call import ModelCall
from lokr_weighting.models.pipeline_call import PipelineCall
from lokr_weighting.models.skeleton import Skeleton, class_of, skeleton_of

if TYPE_CHECKING:
    from torch import nn

MODULE_LISTS = ("ModuleList", "MutableModuleList")
"""What holds blocks: torch's own, and SimpleTuner's."""
REGISTERED: list[Family] = []
"""Families that users added, the latest first."""
REGISTERED_CALLS: dict[str, PipelineCall] = {}
"""Pipelines that users added, by their class."""


class SimpleTuner(BaseModel):
    """A family's transformers in SimpleTuner, where they are not as diffusers'.

    Attributes:
        model_family: what its configuration calls the family.
        also: other names that it knows the same family by.
        streams: a block list's path -> where the streams enter and leave there.
        functions: as in `Family`.
        text_argument: as in `Family`.
        text_mask: as in `Family`.
        layout: as in `Family`.
        class_names: a class of diffusers' inside it -> the class that stands there.
        list_class: the class of its block lists.
        refused: why no run of the family can be measured, where only its transformer is known.
        refused_flavours: a flavour whose model cannot be measured -> why.
        refused_inputs: what a batch may bring that the model's tokens cannot be told apart with
            -> why.
        tried: whether a run was seen from start to finish; else its transformer alone.
        broken: a name of the family -> how SimpleTuner itself ends its runs before anything is
            measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_family: str
    also: tuple[str, ...] = ()
    streams: dict[str, Streams] = {}
    functions: tuple[str, ...] = ()
    text_argument: str | None = None
    text_mask: str | None = None
    layout: str | None = None
    class_names: dict[str, str] = {}
    list_class: str = "MutableModuleList"
    refused: str | None = None
    refused_flavours: dict[str, str] = {}
    refused_inputs: dict[str, str] = {}
    tried: bool = True
    broken: dict[str, str] = {}


class FamilyFile(BaseModel):
    """One file of `families/`.

    Attributes:
        name: the family's name.
        classes: its transformers' classes.
        lists: their block lists, in the order they run.
        text_argument: as in `Family`.
        text_mask: as in `Family`.
        layout: as in `Family`.
        simpletuner: the same in SimpleTuner; None where it does not train them.
        pipelines: a diffusers pipeline's class -> how it is called.
        model_call: how the model itself is run on encoded batches, where that is known.
        checkpoints: a name to type -> the model.
        tested: what its numbers were tested on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    classes: tuple[str, ...]
    lists: tuple[BlockList, ...]
    text_argument: str | None = None
    text_mask: str | None = None
    layout: str | None = None
    simpletuner: SimpleTuner | None = None
    pipelines: dict[str, PipelineCall] = {}
    model_call: ModelCall | None = None
    checkpoints: dict[str, Checkpoint] = {}
    tested: tuple[str, ...] = ()

    @property
    def rows(self) -> list[Family]:
        """The family in each library, those of one library first."""
        everywhere = Family(
            self.name,
            self.classes,
            self.lists,
            text_argument=self.text_argument,
            text_mask=self.text_mask,
            layout=self.layout,
        )
        own = self.simpletuner
        if own is None:
            return [everywhere]
        lists = tuple(
            replace(blocks, streams=own.streams.get(blocks.path, blocks.streams))
            for blocks in self.lists
        )
        there = replace(
            everywhere,
            classes=tuple(own.class_names.get(name, name) for name in self.classes),
            lists=lists,
            library="simpletuner",
            functions=own.functions,
            text_argument=own.text_argument or self.text_argument,
            text_mask=own.text_mask or self.text_mask,
            layout=own.layout or self.layout,
        )
        return [there, everywhere]


@cache
def family_files() -> tuple[FamilyFile, ...]:
    """Every file of `families/`, read and checked when it is first needed."""
    folder = resources.files("lokr_weighting.models") / "families"
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".json")),
        key=lambda file: file.name,
    )
    return tuple(
        checked(FamilyFile, json.loads(file.read_text(encoding="utf-8")), file.name)
        for file in files
    )


def families() -> list[Family]:
    """Every row of the table, in the order they are tried."""
    return [*REGISTERED, *(row for file in family_files() for row in file.rows)]


def register_family(family: Family) -> None:
    """Add a family to the table; it goes before the families of the same classes."""
    REGISTERED.insert(0, family)


def family_of(model: "nn.Module | Skeleton") -> Family:
    """The family that a model's class belongs to.

    Raises:
        LokrWeightingError: no row of the table names the class; lists the model's module lists
            and the row to add.
    """
    name, library = class_of(model)
    for family in families():
        if family.holds(name, library):
            return family
    lists = {
        path: child
        for path, child in skeleton_of(model).children.items()
        if child.class_name in MODULE_LISTS and child.children
    }
    listed = ", ".join(
        f"{path} ({len(child.children)} x {next(iter(child.children.values())).class_name})"
        for path, child in lists.items()
    )
    rows = "".join(f'BlockList("{path}", ("norm*", "ff*"), streams), ' for path in lists)
    raise LokrWeightingError(
        f"{name} is in no family of models known here; its module lists are: {listed or 'none'}. "
        "To add it, say where its streams enter and leave: lokr_weighting.register_family("
        f'Family("my_family", ("{name}",), ({rows.rstrip()})))'
    )


def register_pipeline_call(pipeline_class: str, call: PipelineCall) -> None:
    """Say how a class of pipelines is called; it goes before the table's.

    Args:
        pipeline_class: the class's name, as in `model_index.json`.
        call: how it encodes, and runs its model once.
    """
    REGISTERED_CALLS[pipeline_class] = call


def pipeline_call(pipeline_class: str) -> PipelineCall:
    """How a class of pipelines is called.

    Raises:
        LokrWeightingError: no family names it; says which can be called.
    """
    calls = {name: call for file in family_files() for name, call in file.pipelines.items()}
    calls |= REGISTERED_CALLS
    if pipeline_class not in calls:
        raise LokrWeightingError(
            f"{pipeline_class} is not among the pipelines that can be run here "
            f"({', '.join(sorted(calls))}); say how it is called with "
            "lokr_weighting.register_pipeline_call, or use a loop of your own with "
            "lokr_weighting.calibrate"
        )
    return calls[pipeline_class]


def model_calls() -> dict[str, ModelCall]:
    """How models themselves are run on encoded batches, by their class in diffusers."""
    return {
        name: file.model_call
        for file in family_files()
        if file.model_call is not None
        for name in file.model_call.classes or file.classes
    }


def checkpoints() -> dict[str, Checkpoint]:
    """The models that are known by name."""
    return {name: each for file in family_files() for name, each in file.checkpoints.items()}
