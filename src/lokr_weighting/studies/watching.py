"""Watching a model's blocks: which arguments and outputs carry image tokens, and which text.

Each output of a block belongs to the argument that it turns least. Which of its tokens are text is
known from a second forward with other text, which are image from a third with another image: as
long as the streams have not mixed only their own tokens change, and later tokens are known again
because they equal what an earlier block gave. Tokens that neither changes are registers or padding.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lokr_weighting.measure.angles import angular_distance
from lokr_weighting.models.arguments import arguments_of

IMAGE_NAMES = ("hidden_states", "x", "sample")
TEXT_WORDS = ("encoder_hidden", "cap_feats", "text")
NO_TEXT_WORDS = ("mask", "image", "ids", "len")
"""What the names of a model's arguments hold that are text, or after all are not."""
CHANGE = 0.5  # how much other the text or the image is, in standard deviations
IMAGE, TEXT, NEITHER, UNKNOWN = range(4)
REMEMBERED = 8  # outputs that later tokens are compared with


@dataclass(frozen=True)
class Seen:
    """One output of a list's blocks.

    Attributes:
        place: its index in the output; None where the output is one tensor.
        argument: the argument that it belongs to.
        tokens: "image", "text", "text first" or "image first" where it holds both, "neither"
            where it holds none of them, "mixed" where they are in no order that a row can say.
    """

    place: int | None
    argument: str
    tokens: str


@dataclass(frozen=True)
class _Call:
    """One call of a block: its arguments with tokens, its outputs, None for one without."""

    path: str
    name: str
    arguments: dict[str, Tensor]
    outputs: tuple[Tensor | None, ...]
    one_tensor: bool

    def source(self, output: Tensor) -> str | None:
        """The argument of the output's shape that it turns least."""
        turned = {
            name: float(angular_distance(tokens, output).mean())
            for name, tokens in self.arguments.items()
            if tokens.shape == output.shape
        }
        return min(turned, key=lambda name: turned[name]) if turned else None


def watch(model: nn.Module, inputs: Mapping[str, Any], seed: int = 0) -> dict[str, list[Seen]]:
    """What the blocks of every list of a model hand on, by three forwards of it.

    Args:
        model: the model, with weights that make every block do something.
        inputs: arguments of its forward, a batch of one.
        seed: decides the other text and the other image.

    Returns:
        each list's name -> its blocks' outputs, in the order the lists run.
    """
    generator = torch.Generator().manual_seed(seed)
    calls = _trace(model, inputs)
    with_other_text, with_other_image = (
        {
            name: _changed(value, generator) if is_other(name) else value
            for name, value in inputs.items()
        }
        for is_other in (is_text, IMAGE_NAMES.__contains__)
    )
    other_text = {call.name: call for call in _trace(model, with_other_text)}
    other_image = {call.name: call for call in _trace(model, with_other_image)}
    wanted = _lists(calls)
    found: dict[str, dict[tuple[int | None, str], set[str]]] = {}
    known: list[tuple[Tensor, Tensor]] = []
    for call in calls:
        if call.path not in wanted:
            continue
        for place, output in enumerate(call.outputs):
            name = None if output is None else call.source(output)
            if output is None or name is None:
                continue
            tokens = _flat(call.arguments[name])
            by_text, by_image = (
                _differs(tokens, other[call.name].arguments.get(name))
                for other in (other_text, other_image)
            )
            labels = _labels(tokens, by_text, by_image, known)
            known.append((_flat(output), labels))
            where = None if call.one_tensor else place
            found.setdefault(call.path, {}).setdefault((where, name), set()).add(_in_words(labels))
        del known[: -REMEMBERED * 2]
    return {
        path: [
            Seen(place, name, words.pop() if len(words) == 1 else "mixed")
            for (place, name), words in outputs.items()
        ]
        for path, outputs in found.items()
    }


def is_text(name: str) -> bool:
    """Whether an argument of a model's forward holds text, by its name."""
    return any(word in name for word in TEXT_WORDS) and not any(
        word in name for word in NO_TEXT_WORDS
    )


def _trace(model: nn.Module, inputs: Mapping[str, Any]) -> list[_Call]:
    """Every call of a module in a list while the model runs once."""
    calls: list[_Call] = []

    def leave(path: str, name: str, given: dict[str, Tensor], output: Any) -> None:
        several = isinstance(output, tuple | list)
        outputs = tuple(
            each.clone() if isinstance(each, Tensor) and each.ndim > 2 else None
            for each in (output if several else [output])
        )
        calls.append(_Call(path, name, given, outputs, not several))

    with ExitStack() as undo, torch.no_grad():
        for path, modules in model.named_modules():
            if not isinstance(modules, nn.ModuleList):
                continue
            for index, module in enumerate(modules):
                name = f"{path}.{index}"
                given: dict[str, dict[str, Tensor]] = {}

                def enter(
                    module: nn.Module,
                    args: Any,
                    kwargs: Any,
                    name: str = name,
                    given: dict[str, dict[str, Tensor]] = given,
                ) -> None:
                    given[name] = {
                        key: value.clone()
                        for key, value in arguments_of(module, args, kwargs).items()
                        if isinstance(value, Tensor)
                        and value.ndim > 2
                        and value.is_floating_point()
                    }

                def after(
                    _module: nn.Module,
                    _args: Any,
                    output: Any,
                    path: str = path,
                    name: str = name,
                    given: dict[str, dict[str, Tensor]] = given,
                ) -> None:
                    leave(path, name, given.pop(name), output)

                before = module.register_forward_pre_hook(enter, with_kwargs=True)
                undo.callback(before.remove)
                undo.callback(module.register_forward_hook(after).remove)
        model(**inputs)
    return calls


def _lists(calls: list[_Call]) -> set[str]:
    """The outermost lists whose modules each give something of an argument's shape."""
    good: dict[str, bool] = {}
    for call in calls:
        own = any(each is not None and call.source(each) is not None for each in call.outputs)
        good[call.path] = good.get(call.path, True) and own
    paths = {path for path, whole in good.items() if whole}
    return {
        path for path in paths if not any(path.startswith(f"{outer}.") for outer in paths - {path})
    }


def _changed(value: Any, generator: torch.Generator) -> Any:
    """The same text otherwise."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value + CHANGE * torch.randn(value.shape, generator=generator)
    if isinstance(value, list):
        return [_changed(each, generator) for each in value]
    return value


def _flat(tokens: Tensor) -> Tensor:
    """The first sample's tokens, (tokens, width)."""
    return tokens[0].reshape(-1, tokens.shape[-1])


def _differs(tokens: Tensor, other: Tensor | None) -> Tensor:
    """Which tokens are other in another forward, (tokens,) of bool."""
    if other is None or _flat(other).shape != tokens.shape:
        return torch.ones(len(tokens), dtype=torch.bool)
    return (tokens != _flat(other)).any(dim=-1)


def _labels(
    tokens: Tensor, by_text: Tensor, by_image: Tensor, known: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """What each token is, (tokens,)."""
    labels = torch.full((len(tokens),), NEITHER)
    labels[by_image] = IMAGE
    labels[by_text] = TEXT
    labels[by_text & by_image] = UNKNOWN
    for rows, own in known:
        if rows.shape[-1] == tokens.shape[-1]:
            equal = (tokens[:, None] == rows[None]).all(dim=-1)
            again = equal.any(dim=1)
            labels[again] = own[equal[again].float().argmax(dim=1)]
    return labels


def _in_words(labels: Tensor) -> str:
    """How the tokens lie, registers and padding left out."""
    labels = labels[labels != NEITHER]
    if not len(labels):
        return "neither"
    is_text_token = labels == TEXT
    count = int(is_text_token.sum())
    if (labels == UNKNOWN).any():
        return "mixed"
    if count in (0, len(labels)):
        return "text" if count else "image"
    if is_text_token[:count].all():
        return "text first"
    return "image first" if is_text_token[-count:].all() else "mixed"
