"""What a configuration's other settings add to every Linear, whatever its split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lokr_weighting.models.blocks import BlockLinear


@dataclass(frozen=True)
class Added:
    """Trainable parameters beside a LoKr's two matrices.

    Attributes:
        for_output: for each output feature: DoRA's scales.
        for_input: for each input feature: DoRA's scales where they are on the input.
        each: for each Linear: a scalar.
    """

    for_output: int = 0
    for_input: int = 0
    each: int = 0

    def of(self, out_features: int, in_features: int) -> int:
        """What a Linear of this size gets."""
        return self.for_output * out_features + self.for_input * in_features + self.each

    def to(self, linears: Sequence[BlockLinear]) -> list[BlockLinear]:
        """The Linears, each with what is added to it."""
        return [
            replace(linear, added=self.of(linear.out_features, linear.in_features))
            for linear in linears
        ]


NOTHING = Added()
