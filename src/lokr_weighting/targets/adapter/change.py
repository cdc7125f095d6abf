"""What an adapter does to one weight: how much it changes it, and how much of its capacity it uses.

The weight itself is never made: the norm of a Kronecker product is the product of its factors'
norms, and its singular values are all products of theirs (Van Loan, "The ubiquitous Kronecker
product", 2000).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lokr_weighting.targets.adapter.spectrum import noise_share, spread_of

Algorithm = Literal["LoKr", "LoRA"]


@dataclass(frozen=True)
class Part:
    """One matrix of an adapter: w1 or w2 of a LoKr, up @ down of a LoRA.

    Attributes:
        name: which.
        rank: its effective rank, from 1 to `most` (Roy and Vetterli, "The effective rank", 2007):
            the exponential of the entropy of its singular values over their sum; 0 of a zero
            matrix.
        most: the largest that it can have: its smaller side, or the rank it is factored with.
        noise: the share of the most that random numbers use in its place, in (0, 1].
        norm: its Frobenius norm.
    """

    name: str
    rank: float
    most: int
    noise: float
    norm: float

    @property
    def used(self) -> float:
        """The share of the most, in [0, 1]."""
        return self.rank / self.most


@dataclass(frozen=True)
class Change:
    """What an adapter does to one weight.

    Attributes:
        algorithm: which adapter it is.
        parameters: trainable ones.
        tensors: the shapes of its tensors, by name: "lokr_w1", or "down" and "up".
        norm: the Frobenius norm of the change.
        parts: of a LoKr w1 and w2, of a LoRA the product alone.
    """

    algorithm: Algorithm
    parameters: int
    tensors: Mapping[str, tuple[int, ...]]
    norm: float
    parts: tuple[Part, ...]

    @property
    def rank(self) -> float:
        """The change's effective rank: of a Kronecker product, that of w1 times that of w2."""
        return math.prod(part.rank for part in self.parts) if self.norm else 0.0

    @property
    def most(self) -> int:
        """The largest that its effective rank can be."""
        return math.prod(part.most for part in self.parts)

    @property
    def used(self) -> float:
        """The share of its capacity that the change uses, in [0, 1]; 0 where nothing is changed."""
        return self.rank / self.most

    @property
    def noise(self) -> float:
        """The share that random numbers use in its place, in (0, 1]."""
        return math.prod(part.noise for part in self.parts)


def change_of_lokr(tensors: Mapping[str, Tensor], scale: float) -> Change:
    """What a LoKr does.

    Args:
        tensors: "lokr_w1" (out_l, in_m) or its two factors, "lokr_w2" (out_k, in_n, *kernel) or its
            two factors, of finite numbers.
        scale: what the product is multiplied by.
    """
    parts = tuple(_part(name, *_factored(tensors, f"lokr_{name}")) for name in ("w1", "w2"))
    return _change("LoKr", tensors, scale, parts)


def change_of_lora(down: Tensor, up: Tensor, scale: float) -> Change:
    """What a LoRA does.

    Args:
        down: (rank, in, *kernel), of finite numbers.
        up: (out, rank), or (out, rank, 1, 1) of a convolution.
        scale: what the product is multiplied by.
    """
    part = _part("up @ down", up.flatten(1), down.flatten(1))
    return _change("LoRA", {"down": down, "up": up}, scale, (part,))


def _change(
    algorithm: Algorithm, tensors: Mapping[str, Tensor], scale: float, parts: tuple[Part, ...]
) -> Change:
    count = sum(tensor.numel() for tensor in tensors.values())
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    norm = abs(scale) * math.prod(part.norm for part in parts)
    return Change(algorithm, count, shapes, norm, parts)


def _factored(tensors: Mapping[str, Tensor], name: str) -> tuple[Tensor, ...]:
    """A matrix alone, or the two that it is the product of."""
    if name in tensors:
        return (tensors[name].flatten(1),)
    return tensors[f"{name}_a"], tensors[f"{name}_b"]


def _part(name: str, *factors: Tensor) -> Part:
    shapes = [tuple(factor.shape) for factor in factors]
    spread = spread_of(*factors)
    most = min(side for shape in shapes for side in shape)
    return Part(name, spread.rank, most, noise_share(*shapes), spread.norm)
