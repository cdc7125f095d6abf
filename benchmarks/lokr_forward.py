"""Step time and memory kept for backward: stock peft LoKr, LyCORIS, and the lean forward.

Everything is measured side by side in one run, on one plan, and printed as ratios.

    python benchmarks/lokr_forward.py [--width 512] [--layers 6] [--tokens 256] [--rounds 5]
    python benchmarks/lokr_forward.py --width 2432 --layers 38 --tokens 4096 --device cuda --bf16
"""

import argparse
import copy
import logging
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn

from lokr_weighting import Heatmaps, Recipe, make_plan
from lokr_weighting.targets import peft as weighted
from lokr_weighting.targets.lycoris import config_of

HEAD = 64
TEXT, BATCH = 77, 1


def transformer(width: int, layers: int) -> SD3Transformer2DModel:
    """An SD3 transformer of this width with random weights."""
    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=128,
        in_channels=16,
        out_channels=16,
        num_layers=layers,
        num_attention_heads=width // HEAD,
        attention_head_dim=HEAD,
        joint_attention_dim=width,
        caption_projection_dim=width,
        pooled_projection_dim=width,
        pos_embed_max_size=192,
        qk_norm="rms_norm",
    ).requires_grad_(False)


def batch_of(model: SD3Transformer2DModel, tokens: int) -> dict[str, Tensor]:
    """A batch of one with so many image tokens."""
    config: Any = model.config
    side = 2 * round(tokens**0.5)
    place = {"device": model.device, "dtype": model.dtype}
    return {
        "hidden_states": torch.randn(BATCH, 16, side, side, **place),
        "encoder_hidden_states": torch.randn(BATCH, TEXT, config.joint_attention_dim, **place),
        "pooled_projections": torch.randn(BATCH, config.pooled_projection_dim, **place),
        "timestep": torch.full((BATCH,), 500.0, **place),
    }


def kept_for_backward(model: nn.Module, batch: dict[str, Tensor]) -> int:
    """Bytes that a forward keeps for backward, parameters left out."""
    own = {each.untyped_storage().data_ptr() for each in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(**batch, return_dict=False)[0].float().square().mean()
    del loss
    return sum(kept.values())


def step(model: nn.Module, batch: dict[str, Tensor]) -> float:
    """Seconds of a forward and a backward."""
    _wait(batch)
    begin = time.perf_counter()
    model(**batch, return_dict=False)[0].float().square().mean().backward()
    _wait(batch)
    return time.perf_counter() - begin


def _wait(batch: dict[str, Tensor]) -> None:
    if batch["hidden_states"].device.type == "cuda":
        torch.cuda.synchronize()


def by_lycoris(model: nn.Module, config: dict[str, Any], bypass: bool) -> nn.Module:
    """The plan as a LyCORIS network, applied to the model."""
    from lycoris import LycorisNetwork, create_lycoris

    logging.getLogger("LyCORIS").setLevel(logging.ERROR)
    settings = config | {"bypass_mode": bypass}
    LycorisNetwork.apply_preset(settings.pop("apply_preset"))
    first = (settings.pop(key) for key in ("multiplier", "linear_dim", "linear_alpha"))
    network: Any = create_lycoris(model, *first, **settings)
    network.apply_to()
    parameter = next(model.parameters())
    network.to(parameter.device, parameter.dtype)
    model.add_module("lycoris_network", network)
    return model


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    args = parser.parse_args()
    base = transformer(args.width, args.layers)
    base = base.to(args.device, torch.bfloat16 if args.bf16 else torch.float32)
    rng = np.random.default_rng(0)
    heatmaps = Heatmaps(*rng.uniform(0.05, 0.3, (2, 10, args.layers)))
    plan = make_plan(heatmaps, base, Recipe(), budget="uniform:8")
    config = config_of(plan).written()

    def lean(model: nn.Module) -> nn.Module:
        wrapped = weighted.get_peft_model(model, plan)
        weighted.save_memory(wrapped)
        return wrapped

    ways: dict[str, Callable[[nn.Module], nn.Module]] = {
        "peft": lambda model: weighted.get_peft_model(model, plan),
        "LyCORIS": lambda model: by_lycoris(model, config, False),
        "LyCORIS, bypass": lambda model: by_lycoris(model, config, True),
        "peft, save_memory": lean,
    }
    models = {name: way(copy.deepcopy(base)) for name, way in ways.items()}
    batch = batch_of(base, args.tokens)
    kept = {name: kept_for_backward(model, batch) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(args.rounds + 1):
        for name, model in models.items():
            times[name].append(step(model, batch))
    median = {name: statistics.median(each[1:]) for name, each in times.items()}
    print(
        f"SD3 transformer, width {args.width}, {args.layers} blocks, {args.tokens} image and "
        f"{TEXT} text tokens, {base.dtype}, {args.device}; {plan.parameters:,} parameters of "
        f"{sum(each.numel() for each in base.parameters()):,}"
    )
    print(f"{'':20}{'step, s':>10}{'of peft':>10}{'kept, MiB':>12}{'of peft':>10}")
    for name in models:
        print(
            f"{name:20}{median[name]:10.3f}{median[name] / median['peft']:10.2f}"
            f"{kept[name] / 2**20:12.1f}{kept[name] / kept['peft']:10.2f}"
        )


if __name__ == "__main__":
    main()
