"""Adapters of small models made by the trainers' libraries, and what merging them changes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lycoris import LycorisNetwork, create_lycoris
from safetensors.torch import save_file
from torch import Tensor, nn

from lokr_weighting.models.skeleton import skeleton_of
from lokr_weighting.targets.adapter import Change, effective_rank, open_adapter


def lycoris_of(model: nn.Module, entries: Mapping[str, Mapping[str, Any]], **settings: Any) -> Any:
    """A LyCORIS network with random numbers, applied."""
    preset = {"name_algo_map": dict(entries), "target_module": [], "use_fnmatch": True}
    LycorisNetwork.apply_preset(preset)
    network: Any = create_lycoris(model, 1.0, 4, 1, **{"algo": "lokr", **settings})
    network.apply_to()
    drawn(network)
    return network


def drawn(model: nn.Module) -> nn.Module:
    """What is trainable drawn at random."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for each in model.parameters():
            if each.requires_grad:
                each.copy_(torch.randn(each.shape, generator=generator) * 0.1)
    return model


def saved(network: Any, file: Path) -> Path:
    save_file({name: each.contiguous() for name, each in network.state_dict().items()}, file)
    return file


def changed_by(model: nn.Module, merge: Callable[[], Any]) -> dict[str, Tensor]:
    """What a merge adds to the weights, by the Linears' names, in float64."""
    before = {name: each.detach().clone() for name, each in _weights(model).items()}
    merged = merge()
    after = _weights(merged if isinstance(merged, nn.Module) else model)
    differences = {
        name.removesuffix(".weight"): after[name].detach().double() - each.double()
        for name, each in before.items()
        if name in after
    }
    return {name: each for name, each in differences.items() if each.abs().max() > 0}


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's own weights, whatever wraps them."""
    return {
        name.replace(".base_layer.", "."): each
        for name, each in model.named_parameters()
        if name.endswith(".weight") and each.ndim > 1 and "lora_" not in name
    }


def changes_in(path: Path, model: nn.Module) -> dict[str, Change]:
    with open_adapter(path, skeleton_of(model)) as adapter:
        return {place.name: change for place, change in adapter.changes()}


def assert_the_same(changes: Mapping[str, Change], merged: Mapping[str, Tensor]) -> None:
    """Norm and effective rank are those of what merging really adds."""
    assert changes.keys() == merged.keys()
    for name, change in changes.items():
        matrix = merged[name].detach().flatten(1)
        torch.testing.assert_close(
            torch.tensor(change.norm).double(), matrix.norm(), rtol=1e-5, atol=1e-9
        )
        # a float32 weight's rounding is noise in every direction
        values = torch.linalg.svdvals(matrix)
        values = torch.where(values > values[0] * 1e-4, values, 0)
        torch.testing.assert_close(change.rank, effective_rank(values), rtol=2e-3, atol=1e-3)
