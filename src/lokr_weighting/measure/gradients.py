"""Gains: what a LoKr of each split could follow of the loss's mean gradient, Linear by Linear.

The mean gradient G of a Linear's weight, (out, in), is taken over each half of the samples apart;
a convolution's kernel is w2's, so its (in_n, *kernel) stands where in_n does.
Of it, a LoKr whose w1 is (out_l, in_m) and w2 is (out_k, in_n) can follow at first order the best
Kronecker product: the leading singular triplet of G rearranged to (out_l*in_m, out_k*in_n) (Van
Loan and Pitsianis, "Approximation with Kronecker Products", 1993). The gain is how much of the one
half's best step lies along the other half's gradient, on average over both: noise, which has energy
of its own, does not repeat itself there.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.batched import BatchedForward, inputs_of
from lokr_weighting.measure.job import PreparedJob
from lokr_weighting.measure.runner import drawn
from lokr_weighting.models.blocks import BlockLinear, block_linears
from lokr_weighting.models.denoiser import denoiser
from lokr_weighting.models.loading import evaluating, place
from lokr_weighting.plan.splits import Split, factor_ranges
from lokr_weighting.records.gains import Gains

if TYPE_CHECKING:
    from accelerate import PartialState

PARTS = 2  # a gradient is kept for either half, so half of the Linears fill one model's gradients


def measure_gains(
    model: nn.Module,
    loss: Callable[[int], Tensor],
    halves: tuple[Sequence[int], Sequence[int]],
    *,
    add_up: Callable[[Tensor], Tensor] = lambda sums: sums,
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Gains:
    """Measure the gains of every Linear in the model's blocks.

    All samples are run once for either part of the Linears, so that never more than one model's
    gradients are kept: in float32, beside the weights where there is room, or on the CPU.

    Args:
        model: the transformer; left as it was.
        loss: gives one sample's loss, with a graph.
        halves: the samples of this process, in two halves.
        add_up: adds a tensor up over all processes.
        on_progress: called with (samples run, samples to run) of this process.

    Raises:
        LokrWeightingError: a weight is quantised and has no gradient, or a loss is NaN or Inf.
    """
    linears = block_linears(model)
    _check_trainable(model, linears)
    steps = PARTS * sum(len(half) for half in halves)
    step = 0
    by_split: dict[str, tuple[float, ...]] = {}
    energy: dict[str, float] = {}
    counts = [int(add_up(torch.tensor(len(half)))) for half in halves]
    with evaluating(model), _without_gradients(model):
        for part in (linears[first::PARTS] for first in range(PARTS)):
            sums = [_zeros(model, part) for _ in halves]
            for half, total in zip(halves, sums, strict=True):
                with _added_to(total, model):
                    for sample in half:
                        _backward(loss, sample)
                        step += 1
                        on_progress(step, steps)
            for linear in part:
                device = _weight(model, linear).device
                one, other = (
                    _precise(add_up(total.pop(linear.name).to(device))) / count
                    for total, count in zip(sums, counts, strict=True)
                )
                splits = factor_ranges(linear.out_features, linear.in_features)
                by_split[linear.name] = tuple(gain(one, other, each.split) for each in splits)
                energy[linear.name] = float((one.square().sum() + other.square().sum()) / 2)
    order = [linear.name for linear in linears]
    return Gains(
        sum(counts),
        {name: by_split[name] for name in order},
        {name: energy[name] for name in order},
    )


def gains_of_job(
    prepared: PreparedJob,
    samples: int,
    *,
    state: "PartialState",
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Gains:
    """Measure the gains of a job's model on its first samples, with its own loss.

    Args:
        prepared: the job.
        samples: how many; rounds of one in each timestep bin go to either half in turn.
        state: this process, and the others that take their share.
        on_progress: called with (samples run, samples to run) of this process.

    Raises:
        LokrWeightingError: the model cannot be loaded, is quantised, or gives NaN or Inf.
    """
    from accelerate.utils import reduce

    bins = prepared.settings["bins"]
    own = range(state.process_index, samples, state.num_processes)
    source, by_number = drawn(prepared, own)
    pipeline = source.encoder.pipeline
    transformer: Any = denoiser(pipeline)
    place(transformer, prepared.device, "none")
    if prepared.device.type == "cuda":
        transformer.enable_gradient_checkpointing()
    forward = BatchedForward(pipeline, prepared.device)
    halves = tuple([index for index in own if index // bins % 2 == half] for half in range(2))

    def add_up(sums: Tensor) -> Tensor:
        reduced: Any = reduce(sums, reduction="sum")
        return reduced

    return measure_gains(
        transformer,
        lambda index: forward.losses([inputs_of(source, by_number[index])])[0],
        (halves[0], halves[1]),
        add_up=add_up,
        on_progress=on_progress,
    )


def gain(one: Tensor, other: Tensor, split: Split) -> float:
    """What a split can follow of a gradient, known from two halves of the samples.

    Args:
        one: the mean gradient of one half, (out, in, *kernel).
        other: the same of the other half.
        split: the split.

    Returns:
        the mean of <K, other> over both ways round, where K is the best Kronecker product for
        `one`; with equal halves the squared largest singular value.
    """
    a, b = (_rearranged(each, split) for each in (one, other))
    cross = b @ a.T
    # K = s u v' with s v = a' u, so <K, b> = u' b a' u
    leading = [torch.linalg.eigh(each @ each.T).eigenvectors[:, -1] for each in (a, b)]
    return float(sum(u @ cross @ u for u in leading) / 2)


def _rearranged(gradient: Tensor, split: Split) -> Tensor:
    """A gradient as a matrix whose rank 1 is a Kronecker product, (out_l*in_m, out_k*in_n*k)."""
    out_l, out_k, in_m, in_n = split
    kernel = gradient.shape[2:]
    blocks = gradient.reshape(out_l, out_k, in_m, in_n, *kernel).transpose(1, 2)
    return blocks.reshape(out_l * in_m, -1)


def _precise(sums: Tensor) -> Tensor:
    """In float64 on a CPU; most GPUs are slow at that."""
    return sums.double() if sums.device.type == "cpu" else sums


def _backward(loss: Callable[[int], Tensor], sample: int) -> None:
    value = loss(sample)
    if not torch.isfinite(value):
        raise LokrWeightingError(
            f"sample {sample}: the loss is NaN or Inf, so its gradient says nothing; try another "
            "dtype (float16 overflows where bfloat16 and float32 do not)"
        )
    value.backward()


def _weight(model: nn.Module, linear: BlockLinear) -> Tensor:
    """A Linear's weight."""
    module: Any = model.get_submodule(linear.name)
    return module.weight


def _check_trainable(model: nn.Module, linears: Sequence[BlockLinear]) -> None:
    for linear in linears:
        weight = _weight(model, linear)
        if not weight.is_floating_point() or weight.shape != linear.shape:
            raise LokrWeightingError(
                f"{linear.name}: its weight is quantised and has no gradient; measure gradients "
                "without quantisation"
            )


def _zeros(model: nn.Module, linears: Sequence[BlockLinear]) -> dict[str, Tensor]:
    """Sums that gradients are added to, by the Linear's name."""
    size = 4 * sum(math.prod(linear.shape) for linear in linears)
    device = _weight(model, linears[0]).device
    if device.type == "cuda" and torch.cuda.mem_get_info(device)[0] < 2 * PARTS * size:
        device = torch.device("cpu")
    return {linear.name: torch.zeros(linear.shape, device=device) for linear in linears}


@contextmanager
def _added_to(sums: dict[str, Tensor], model: nn.Module) -> Iterator[None]:
    """Within, every backward pass adds these Linears' gradients to the sums, and keeps none."""

    def add(total: Tensor, weight: Tensor) -> None:
        if weight.grad is not None:
            total.add_(weight.grad.to(total.device, total.dtype))
        weight.grad = None

    weights: dict[str, Any] = {name: model.get_submodule(name).weight for name in sums}
    handles = []
    try:
        for name, weight in weights.items():
            weight.requires_grad_(True)
            handles.append(weight.register_post_accumulate_grad_hook(partial(add, sums[name])))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for weight in weights.values():
            weight.requires_grad_(False)


@contextmanager
def _without_gradients(model: nn.Module) -> Iterator[None]:
    """Within, no parameter asks for a gradient; afterwards those do that did."""
    before = [each for each in model.parameters() if each.requires_grad]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for each in before:
            each.requires_grad_(True)
