"""A row of the families' table for a model that has none, proposed from watching it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.family import BlockList, Family, Streams
from lokr_weighting.models.known import load_config
from lokr_weighting.studies.example_inputs import small_model
from lokr_weighting.studies.watching import Seen, watch

BASE_WORDS = ("ff", "mlp", "feed", "norm", "mod", "ada", "proj_out")
"""What names of feed-forward and modulation modules hold."""
ASKS_FOR_A_CHECK = (
    "Watched, not known: a person must check it against the model's forward before it is "
    "registered. When this was first tried on 45 classes of diffusers, 35 rows were right; where "
    "registers or padding lie among the tokens, rows were wrong."
)


@dataclass(frozen=True)
class Proposal:
    """What was seen.

    Attributes:
        family: the row; its lists are those of which a row can say what was seen.
        remarks: what a row cannot say, a sentence for each.
    """

    family: Family
    remarks: tuple[str, ...]

    @property
    def python(self) -> str:
        """The row as Python, to be checked and registered."""
        lists = ",\n    ".join(
            f"BlockList({each.path!r}, {each.base!r}, {each.streams!r})"
            for each in self.family.lists
        )
        name, classes = self.family.name, self.family.classes
        return (
            "from lokr_weighting import BlockList, Family, Streams, register_family\n\n"
            f"register_family(Family({name!r}, {classes!r}, (\n    {lists},\n)))"
        )


def propose_for(model: str) -> Proposal:
    """Propose a row for a model of diffusers, by a small random one of its class.

    Args:
        model: a class of diffusers, or as for `load_config`.

    Raises:
        LokrWeightingError: as `load_config`, `small_model` or `propose`.
    """
    import diffusers

    is_class = model.isidentifier() and hasattr(diffusers, model)
    config = {"_class_name": model} if is_class else load_config(model)
    if is_class:
        own = inspect.signature(getattr(diffusers, model).__init__).parameters
        config |= {name: each.default for name, each in own.items() if name != "self"}
    return propose(*small_model(config))


def propose(model: nn.Module, inputs: Mapping[str, Any]) -> Proposal:
    """Propose a row for a model.

    Args:
        model: a small one with random weights will do.
        inputs: arguments of its forward, a batch of one.

    Raises:
        LokrWeightingError: no list of modules hands anything on, or no row can say what.
    """
    name = type(model).__name__
    seen = watch(model, inputs)
    if not seen:
        raise LokrWeightingError(
            f"{name}: no list of modules was seen that hands on what it gets: its blocks may be "
            "run by a function, or in no ModuleList"
        )
    lists, remarks = [], []
    for path, outputs in seen.items():
        streams = _streams(outputs)
        if {each.tokens for each in outputs} == {"neither"}:
            remarks.append(f"{path}: holds neither image nor text")
        elif streams is None:
            told = ", ".join(f"{each.argument} ({each.tokens})" for each in outputs)
            remarks.append(f"{path}: {told}: no row can be proposed for it")
        else:
            lists.append(BlockList(path, _base(model, path), streams))
    if not lists:
        raise LokrWeightingError(f"{name}: no row can be proposed: {'; '.join(remarks)}")
    if any(each.streams.joined for each in lists) and not any(
        each.streams.image_in and each.streams.text_in for each in lists
    ):
        remarks.append(
            "no block with two streams runs before the joined ones: how many of their tokens are "
            "text has to be said otherwise"
        )
    return Proposal(Family(_short(name), (name,), tuple(lists)), tuple(remarks))


def _streams(outputs: list[Seen]) -> Streams | None:
    """Where the streams enter and leave; None where a row cannot say it."""
    by_tokens = {each.tokens: each for each in outputs}
    for order in ("text first", "image first"):
        if set(by_tokens) == {order} and len(outputs) == 1:
            both = outputs[0]
            return Streams(both.argument, None, both.place, None, order)
    image, text = by_tokens.get("image"), by_tokens.get("text")
    if image is None and text is not None and len(outputs) == 1:
        return Streams(None, text.argument, None, text.place)
    if image is None or len(by_tokens) < len(outputs) or not set(by_tokens) <= {"image", "text"}:
        return None
    if text is None:
        return Streams(image.argument, None, image.place, None)
    return Streams(image.argument, text.argument, image.place, text.place)


def _base(model: nn.Module, path: str) -> tuple[str, ...]:
    """Patterns of what looks like feed-forward and modulation, by its name, and has Linears."""
    block = next(model.get_submodule(path).children())
    return tuple(
        f"{name}*"
        for name, child in block.named_children()
        if any(word in name.lower() for word in BASE_WORDS)
        and any(isinstance(each, nn.Linear) for each in child.modules())
    )


def _short(class_name: str) -> str:
    """A family's name from its class's."""
    for ending in ("2DModel", "3DModel", "Model", "Transformer"):
        class_name = class_name.removesuffix(ending)
    return class_name.lower() or "my_family"
