"""Run by test_peft under torchrun: two processes train one weighted adapter on different batches.

Process 0 prints whether all have the same tensors, and how far they are from those of one process
that trains on all batches.
"""

import json
import sys
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lokr_weighting.targets import peft as weighted
from tests.targets.peft.test_adapters import plan_for
from tests.tiny_models import model_and_inputs

STEPS, RATE = 4, 0.05


def train(model: Any, batches: list[dict[str, Tensor]], parameters: list[Tensor]) -> None:
    """Plain gradient descent towards zero output, on the mean over the batches."""
    optimizer = torch.optim.SGD(parameters, lr=RATE)
    for _ in range(STEPS):
        losses = [model(**batch, return_dict=False)[0].square().mean() for batch in batches]
        torch.stack(losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def adapted() -> tuple[nn.Module, list[Tensor]]:
    """A small model with weighted adapters, the same in every process."""
    torch.manual_seed(0)
    model, _ = model_and_inputs("sd3")
    wrapped = weighted.get_peft_model(model, plan_for(model))
    return wrapped, [each for each in wrapped.parameters() if each.requires_grad]


def main() -> None:
    """Train together and alone."""
    distributed.init_process_group("gloo")
    rank, count = distributed.get_rank(), distributed.get_world_size()
    batches = [model_and_inputs("sd3", seed)[1] for seed in range(count)]
    together, tensors = adapted()
    train(DistributedDataParallel(together), [batches[rank]], tensors)
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
    everyone = [torch.empty_like(flat) for _ in range(count)]
    distributed.all_gather(everyone, flat)
    if rank == 0:
        alone, tensors = adapted()
        start = torch.cat([tensor.detach().flatten().clone() for tensor in tensors])
        train(alone, batches, tensors)
        expected = torch.cat([tensor.detach().flatten() for tensor in tensors])
        same = all(torch.equal(each, flat) for each in everyone)
        apart = float((flat - expected).norm() / (expected - start).norm())
        json.dump({"same": same, "apart": apart}, sys.stdout)
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
