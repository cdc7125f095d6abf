"""What a module is called with, by name: some models pass their blocks' arguments by place."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from torch import nn


def argument(
    name: str,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    block: str,
) -> Any:
    """The argument of that name in a call of a block, however it was passed.

    Args:
        name: the parameter's name, as in a family's row.
        function: what runs the block: its class's forward, or a function that takes the block
            first.
        args: what was passed by place, without the block.
        kwargs: what was passed by name.
        block: what to call the block in an error.

    Raises:
        LokrWeightingError: the call has no such argument; says which there are.
    """
    if name in kwargs:
        return kwargs[name]
    names = list(inspect.signature(function).parameters)[1:]
    if name in names and names.index(name) < len(args):
        return args[names.index(name)]
    raise LokrWeightingError(
        f"{block} is called without {name!r}; {function.__name__} has {', '.join(names)}: "
        "correct its family's row"
    )


def arguments_of(
    module: "nn.Module", args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Everything that a module's forward is called with, by name, however it was passed."""
    return inspect.signature(type(module).forward).bind_partial(module, *args, **kwargs).arguments


def with_argument(
    name: str,
    value: Any,
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> tuple[list[Any], dict[str, Any]]:
    """The same call of a block with another value for the argument of that name.

    Args:
        name: the parameter's name.
        value: its new value.
        function: as for `argument`.
        args: the same.
        kwargs: the same.

    Returns:
        what to pass by place, without the block, and by name.
    """
    names = list(inspect.signature(function).parameters)[1:]
    if name not in kwargs and name in names[: len(args)]:
        place = names.index(name)
        return [*args[:place], value, *args[place + 1 :]], dict(kwargs)
    return list(args), {**kwargs, name: value}
