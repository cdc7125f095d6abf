"""A small random transformer of every family, and its streams by hand."""

from typing import Any

import diffusers
import torch
from torch import nn

from tests.families.alone import ALONE
from tests.families.joint import JOINT
from tests.families.kind import Tiny

TINY: dict[str, Tiny] = JOINT | ALONE
"""A class's name -> its small model."""


def model_and_inputs(name: str, seed: int = 0, **changes: Any) -> tuple[nn.Module, dict[str, Any]]:
    """A class's small random model, of another configuration in `changes`, and a batch of two."""
    torch.manual_seed(seed)
    own = TINY[name]
    model = getattr(diffusers, name)(**own.config | changes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # gates and modulations that begin at zero would hide what blocks do
            parameter.copy_(torch.randn_like(parameter) * 0.15)
    return model, own.inputs()
