"""What a trained adapter did, block by block: how much it changed, and the capacity it used.

Beside it stands what the plan gave, or else what the adapter has.
"""

from dataclasses import asdict, dataclass
from typing import Any

from lokr_weighting.models.blocks import Stream
from lokr_weighting.studies.uses import Use
from lokr_weighting.targets.adapter import Change


@dataclass(frozen=True)
class LinearChange:
    """One adapted weight.

    Attributes:
        name: its Linear's or convolution's.
        block: its block's; None outside the blocks.
        stream: whose tokens pass through it; None where both do, or outside the blocks.
        change: what the adapter does to it.
        weight: the weight's Frobenius norm; None where it is not at hand.
        planned: parameters that the plan gave it; None where there is no plan, or it has none.
        factors: the plan's; of a fused Linear several.
    """

    name: str
    block: str | None
    stream: Stream | None
    change: Change
    weight: float | None
    planned: int | None
    factors: tuple[int, ...] = ()

    @property
    def relative(self) -> float | None:
        """The change's norm over the weight's."""
        return _over(self.change.norm, self.weight)


@dataclass(frozen=True)
class BlockChange:
    """One block's Linears of one stream together.

    Attributes:
        block: its name; None: what lies outside the blocks.
        stream: the stream; None where both run through.
        linears: how many Linears and convolutions the block has in it.
        adapted: how many weights are adapted.
        parameters: the adapter's.
        planned: the plan's; None where there is none.
        factors: the plan's, each once.
        norm: of all changes together.
        weight: of all the block's weights in the stream together, adapted or not; outside the
            blocks, of the adapted. None where one is not at hand.
        parts: the mean share that is used of w1 and w2, weighted by the Linears' parameters; of a
            LoRA "up @ down".
        used: the mean share of the change's capacity that is used, weighted alike.
        noise: the same of random numbers in its place.
    """

    block: str | None
    stream: Stream | None
    linears: int
    adapted: int
    parameters: int
    planned: int | None
    factors: tuple[int, ...]
    norm: float
    weight: float | None
    parts: dict[str, float]
    used: float
    noise: float

    @property
    def relative(self) -> float | None:
        """The change's norm over the weights'."""
        return _over(self.norm, self.weight)


@dataclass(frozen=True)
class AdapterStudy:
    """What a trained adapter did.

    Attributes:
        adapter: its file or folder.
        model: the model's name.
        plan: the plan's identity, where one was given.
        weights: where the model's weights were read; None: they are not at hand.
        linears: every adapted weight, in the file's order.
        blocks: one for each block and stream, in the model's order; what is outside last.
        uses: whether training used the capacity where it was put.
        differences: where the adapter is not the plan's, in sentences.
        left_out: how many modules of text encoders were left out.
    """

    adapter: str
    model: str
    plan: str | None
    weights: str | None
    linears: tuple[LinearChange, ...]
    blocks: tuple[BlockChange, ...]
    uses: tuple[Use, ...]
    differences: tuple[str, ...]
    left_out: int

    @property
    def parameters(self) -> int:
        """The adapter's."""
        return sum(each.change.parameters for each in self.linears)

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "adapter": self.adapter,
            "model": self.model,
            "plan": self.plan,
            "weights": self.weights,
            "parameters": self.parameters,
            "modules": len(self.linears),
            "left_out": self.left_out,
            "differences_from_plan": list(self.differences),
            "uses": [each.as_json() for each in self.uses],
            "blocks": [_block_as_json(each) for each in self.blocks],
            "linears": [_linear_as_json(each) for each in self.linears],
        }


def _over(norm: float, weight: float | None) -> float | None:
    return norm / weight if weight else None


def _block_as_json(each: BlockChange) -> dict[str, Any]:
    return {
        "block": each.block,
        "stream": each.stream,
        "linears": each.linears,
        "adapted": each.adapted,
        "parameters": each.parameters,
        "planned_parameters": each.planned,
        "planned_factors": list(each.factors),
        "norm": each.norm,
        "weight_norm": each.weight,
        "relative_change": each.relative,
        "used_by_part": each.parts,
        "used": each.used if each.adapted else None,
        "used_by_noise": each.noise if each.adapted else None,
    }


def _linear_as_json(each: LinearChange) -> dict[str, Any]:
    change = each.change
    return {
        "name": each.name,
        "block": each.block,
        "stream": each.stream,
        "algorithm": change.algorithm,
        "parameters": change.parameters,
        "planned_parameters": each.planned,
        "planned_factors": list(each.factors),
        "norm": change.norm,
        "weight_norm": each.weight,
        "relative_change": each.relative,
        "effective_rank": change.rank,
        "most_rank": change.most,
        "used": change.used,
        "used_by_noise": change.noise,
        "parts": [asdict(part) | {"used": part.used} for part in change.parts],
    }
