"""How large a model may be that a configuration describes: beyond that nobody could wait for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lokr_weighting.errors import LokrWeightingError

if TYPE_CHECKING:
    from torch import nn

MOST_MODULES = 20_000
"""Of a pipeline; the largest known ones have a few thousand."""
LONGEST_SIDE = 1 << 20
"""Of a weight; those of the largest known vocabularies have a quarter of that."""


@contextmanager
def few_modules(where: str) -> Iterator[None]:
    """Stop what is being built when it gets more modules than any model has.

    Args:
        where: what it is built from, for the message.

    Raises:
        LokrWeightingError: it did.
    """
    from torch.nn.modules.module import register_module_module_registration_hook

    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1
        if count > MOST_MODULES:
            raise LokrWeightingError(
                f"{where}: describes a model of more than {MOST_MODULES:,} modules; no model has "
                "so many layers"
            )

    hook = register_module_module_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()


def check_sides(model: "nn.Module", where: str) -> None:
    """Refuse weights that no model has: without numbers, or a million wide.

    Raises:
        LokrWeightingError: names the first of them.
    """
    for name, parameter in model.named_parameters():
        if not all(1 <= side <= LONGEST_SIDE for side in parameter.shape):
            raise LokrWeightingError(
                f"{where}: makes {name} of shape {list(parameter.shape)}; sides of 1 to "
                f"{LONGEST_SIDE:,} make sense"
            )
