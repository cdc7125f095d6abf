"""What is known of a family of models: its classes, blocks and streams, checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from lokr_weighting.errors import LokrWeightingError

NOTHING_UNKNOWN = {"extra": "forbid"}
"""How pydantic reads these classes from a family's file."""


@dataclass(frozen=True)
class Streams:
    """Where the two streams enter and leave a block.

    Attributes:
        image_in: the argument of the block's forward that holds the image tokens, or both streams
            where they are joined; None where the block has text alone.
        text_in: the argument that holds the text tokens; None where the block has none of its own.
        image_out: the index of the image tokens in the block's output; None where the output is
            one tensor.
        text_out: the index of the text tokens in the output; None where a block of text alone
            gives one tensor. A block whose output there is None hands no text on and has no text
            distance.
        joined: whether image_in is one sequence of both streams, and which comes first. How many
            of its tokens are text is known from the separate blocks that ran before, or from the
            family's `text_argument` or `layout`.
        tokens_first: whether a joined sequence is (tokens, batch, width).
    """

    __pydantic_config__: ClassVar = NOTHING_UNKNOWN

    image_in: str | None = "hidden_states"
    text_in: str | None = "encoder_hidden_states"
    image_out: int | None = 1
    text_out: int | None = 0
    joined: Literal["text first", "image first"] | None = None
    tokens_first: bool = False

    def __post_init__(self) -> None:
        if self.image_in is None and self.text_in is None:
            raise LokrWeightingError(
                "a block needs a stream: name the argument that holds its image tokens (image_in), "
                "its text tokens (text_in) or both"
            )
        if self.joined and self.image_in is None:
            raise LokrWeightingError(
                f"joined is {self.joined!r}, so image_in must name the argument of both streams"
            )

    @property
    def alone(self) -> Literal["image", "text"] | None:
        """The one stream of a block that has no other; None where it has both."""
        if self.image_in is None:
            return "text"
        return "image" if self.text_in is None and self.joined is None else None


@dataclass(frozen=True)
class BlockList:
    """One module list of blocks.

    Attributes:
        path: the list's name in the model, e.g. "transformer_blocks". A `*` stands for any one part
            between dots: every list that matches counts under its own name, in the model's order,
            and there may be none.
        base: patterns of names inside a block, most specific first: the feed-forward and
            modulation Linears, which get the block's factor itself.
        streams: where the streams enter and leave its blocks; by default both apart, the text
            first in the output, as in SD3's, Flux's and AuraFlow's joint blocks.
        text: patterns of names inside a block: the Linears that only text tokens pass through;
            others are the image's. Without any, both streams' tokens pass through all, or in blocks
            of one stream alone that stream's.
        unmeasured: what a stream is called that is neither image nor text, and is not measured
            ("audio") -> patterns of the Linears that work on it: what they make is added to it.
            They get the factor of their block, and a plan says so.
    """

    __pydantic_config__: ClassVar = NOTHING_UNKNOWN

    path: str
    base: tuple[str, ...]
    streams: Streams = Streams()
    text: tuple[str, ...] = ()
    unmeasured: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Family:
    """The transformers of a family, as one library makes them.

    Attributes:
        name: the family's name.
        classes: its classes' names.
        lists: its block lists, in the order they run.
        library: the package the classes come from; None: any.
        functions: functions beside the class that run the block given to them first, for models
            that do not call their blocks.
        text_argument: the argument of the model's own forward that holds the caption, (batch,
            tokens, ...), where no block tells how many tokens of a joined sequence are text.
        text_mask: the argument that marks the caption's real tokens, (batch, tokens) or with the
            image's behind them, where there is one.
        layout: the name of a way to lay out tokens (`measure.layouts`), where rows cannot say it.
    """

    name: str
    classes: tuple[str, ...]
    lists: tuple[BlockList, ...]
    library: str | None = None
    functions: tuple[str, ...] = ()
    text_argument: str | None = None
    text_mask: str | None = None
    layout: str | None = None

    def holds(self, class_name: str, library: str) -> bool:
        """Whether a class of that name and package is of this family."""
        return class_name in self.classes and self.library in (None, library)


@dataclass(frozen=True)
class Checkpoint:
    """A model that is known by name, without a network.

    Attributes:
        repository: its hub id.
        source: where the configuration's numbers are from: which file of which version.
        config: its transformer's configuration, as in transformer/config.json.
        also: hub ids of further models with the same configuration.
    """

    __pydantic_config__: ClassVar = NOTHING_UNKNOWN

    repository: str
    source: str
    config: Mapping[str, Any]
    also: tuple[str, ...] = ()

    @property
    def hub_ids(self) -> tuple[str, ...]:
        """Every hub id that it is known by."""
        return self.repository, *self.also
