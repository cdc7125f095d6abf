"""Which of a model's Linears a file's names mean."""

from collections.abc import Mapping
from dataclasses import dataclass

from lokr_weighting.models.blocks import shape_of
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.targets.trained import name_of

FUSED = {
    "to_qkv": ("to_q", "to_k", "to_v"),
    "to_kv": ("to_k", "to_v"),
    "to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj"),
}
"""A Linear of diffusers' `fuse_qkv_projections` -> those whose weights it stacks."""
TEXT_ENCODERS = (
    "lora_te_",
    "lora_te1_",
    "lora_te2_",
    "lora_te3_",
    "text_encoder.",
    "text_encoder_2.",
    "text_encoder_3.",
)
"""What trainers write before the name of a text encoder's module."""


@dataclass(frozen=True)
class Place:
    """A weight that an adapter can change.

    Attributes:
        name: the Linear's or convolution's full name.
        shape: its weight's.
        parts: the model's own Linears in it, with their weights' shapes: itself, or several where
            a trainer fused them.
    """

    name: str
    shape: tuple[int, ...]
    parts: tuple[tuple[str, tuple[int, ...]], ...]


class Places:
    """All places of a model, by the names that files have for them.

    Args:
        model: the model's modules.
    """

    def __init__(self, model: Skeleton) -> None:
        self.model = model.class_name
        own = {
            name: shape
            for name, module in model.named_modules()
            if (shape := shape_of(module)) is not None
        }
        places = [Place(name, shape, ((name, shape),)) for name, shape in own.items()]
        self.by_name: Mapping[str, Place] = {place.name: place for place in (*_fused(own), *places)}
        self._names = {name.replace(".", "_"): name for name in self.by_name}

    def find(self, module: str) -> Place | None:
        """The place that a file calls so, behind any prefix, with dots or underscores."""
        name = name_of(module, self._names)
        return None if name is None else self.by_name[name]


def _fused(own: Mapping[str, tuple[int, ...]]) -> list[Place]:
    """The Linears that fusing would make of a model's own."""
    found = []
    for parent in {name.rpartition(".")[0] for name in own}:
        for fused, names in FUSED.items():
            parts = [(f"{parent}.{name}", own.get(f"{parent}.{name}")) for name in names]
            known = tuple((name, shape) for name, shape in parts if shape is not None)
            sides = {shape[1:] for _, shape in known}
            if len(known) == len(names) and len(sides) == 1:
                shape = (sum(shape[0] for _, shape in known), *sides.pop())
                found.append(Place(f"{parent}.{fused}", shape, known))
    return found
