"""What the probe costs: a forward without it, with it, and with the study's way of measuring.

Run: python benchmarks/probe_overhead.py [--width 1024 ...] [--rounds 5] [--threads 1]
    [--similarity]

Each row is a few blocks of a diffusers SD3 transformer with random weights, 1024 image and 154 text
tokens, on the CPU. Three ways take turns, so that a machine that gets slower does so for all:

- bare: the forward alone, under no_grad;
- probe: the same inside `Probe`, with `take()`: both token settings, the mean and the last token;
  with --similarity it also compares every pair of blocks;
- seed: all hidden states of both streams kept until the forward is over, then the last token's
  distance by clamp and acos, with one `.item()` for each block and stream (the SD3.5-Large study).

Times are CPU times of the one thread, without the waits for other programs; wall times with more
threads. "medians" is the ratio of the two medians, "pairs" the median of the ratios of neighbours,
then their quartiles; "noise" the quartiles of a bare forward against the one before it. "hooks",
with less noise, is 1 plus the time in the probe's hooks and `take` over the rest of the forward.

Memory is the most that torch's CPU allocator held in one more forward (from the profiler), in image
activations (tokens x width x bytes): the bare forward's, and how much more the others held. The
seed's grows with the number of blocks. "alone" is `angular_distance` by itself on the image tokens.

One thread is the default: with more threads than free cores, each operation ends with a wait.
"""

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from lokr_weighting import Probe
from lokr_weighting.measure.angles import angular_distance

IMAGE_TOKENS, TEXT_TOKENS = 1024, 154
SIDE = 2 * math.isqrt(IMAGE_TOKENS)
BLOCKS = {256: 6, 512: 4, 1024: 2, 1536: 2, 2432: 2}
ROUNDS = {256: 15, 512: 15, 1024: 11, 1536: 5, 2432: 5}  # fewer where a forward is slow
RATIOS, PEAKS = "medians  pairs    quartiles", " bare probe  seed  alone"
COLUMNS = f"""{"":28}| probe / bare{"":16}| seed / bare{"":17}|{"":13}|{"":8}| peak in activations
width dtype    blocks bare s | {RATIOS} | {RATIOS} | noise       | hooks  | {PEAKS}"""


def model_and_inputs(width: int, dtype: torch.dtype) -> tuple[nn.Module, dict[str, Any]]:
    """A transformer of that width with random weights, and what its forward takes."""
    torch.manual_seed(0)
    model = SD3Transformer2DModel(
        sample_size=SIDE,
        num_layers=BLOCKS.get(width, 2),
        num_attention_heads=width // 64,
        caption_projection_dim=width,
        joint_attention_dim=width,
        pooled_projection_dim=width,
        pos_embed_max_size=SIDE // 2,
        qk_norm="rms_norm",
    )
    inputs = {
        "hidden_states": torch.randn(1, 16, SIDE, SIDE, dtype=dtype),
        "encoder_hidden_states": torch.randn(1, TEXT_TOKENS, width, dtype=dtype),
        "pooled_projections": torch.randn(1, width, dtype=dtype),
        "timestep": torch.tensor([500.0]),
        "return_dict": False,
    }
    return nn.Module.to(model, dtype).eval(), inputs


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The transformer's blocks."""
    return list(model.get_submodule("transformer_blocks").children())


def probe_forward(
    model: nn.Module, inputs: dict[str, Any], clock: Callable[[], float], similarity: bool
) -> float:
    """A forward inside the probe; what the probe's own code took over the rest of the time."""
    marks: list[float] = []

    def mark(*_: object) -> None:
        marks.append(clock())

    def add_marks() -> list[Any]:
        before = [block.register_forward_pre_hook(mark) for block in blocks_of(model)]
        return before + [block.register_forward_hook(mark) for block in blocks_of(model)]

    start = clock()
    handles = add_marks()  # these run before the probe's hooks, the next ones after them
    with Probe(model, similarity=similarity) as probe:
        handles += add_marks()
        model(**inputs)
        mark()
        probe.take()
        mark()
    for handle in handles:
        handle.remove()
    inside = sum(marks[1::2]) - sum(marks[::2])
    return inside / (clock() - start - inside)


def seed_forward(model: nn.Module, inputs: dict[str, Any]) -> list[float]:
    """A forward that keeps every hidden state of both streams, then their distances."""
    images, texts = list[Tensor](), list[Tensor]()

    def enter(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        images.append(kwargs["hidden_states"])
        texts.append(kwargs["encoder_hidden_states"])

    def leave(_module: nn.Module, _args: Any, both: tuple[Tensor | None, Tensor]) -> None:
        images.append(both[1])
        texts.extend([] if both[0] is None else [both[0]])

    handles = [block.register_forward_hook(leave) for block in blocks_of(model)]
    handles.append(blocks_of(model)[0].register_forward_pre_hook(enter, with_kwargs=True))
    model(**inputs)
    for handle in handles:
        handle.remove()
    return [distance(*states) for states in [*pairwise(images), *pairwise(texts)]]


def distance(before: Tensor, after: Tensor) -> float:
    """The last token's angular distance."""
    cosine = functional.cosine_similarity(before[:, -1], after[:, -1], dim=-1)
    return (torch.acos(cosine.clamp(-1 + 1e-7, 1 - 1e-7)) / math.pi).mean().item()


def peak(way: Callable[[], object]) -> int:
    """The most bytes that torch's CPU allocator held at one time, beyond those at the start."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        way()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profiler.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    changes = sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"])
    return max(accumulate(change["args"]["Bytes"] for change in changes))


def quartiles(numbers: list[float]) -> str:
    """The lower and the upper quartile."""
    return "{:.3f}-{:.3f}".format(*quantiles(numbers, n=4, method="inclusive")[::2])


def line_of(
    width: int, dtype: torch.dtype, rounds: int, clock: Callable[[], float], similarity: bool
) -> str:
    """One line of the table."""
    model, inputs = model_and_inputs(width, dtype)
    hooks = list[float]()
    ways: tuple[Callable[[], object], ...] = (
        lambda: model(**inputs),
        lambda: hooks.append(probe_forward(model, inputs, clock, similarity)),
        lambda: seed_forward(model, inputs),
    )
    seconds: list[list[float]] = [[], [], []]
    for _ in range(rounds + 1):
        for way, found in zip(ways, seconds, strict=True):
            start = clock()
            way()
            found.append(clock() - start)
    bare, *others = (found[1:] for found in seconds)  # the first round warms up
    cells = [f"{width:5} {str(dtype)[6:]:8} {len(blocks_of(model)):6} {median(bare):6.2f}"]
    for slow in others:
        pairs = [a / b for a, b in zip(slow, bare, strict=True)]
        ratio = median(slow) / median(bare)
        cells.append(f"{ratio:7.3f} {median(pairs):6.3f} {quartiles(pairs):>12}")
    cells.append(quartiles([after / before for before, after in pairwise(bare)]))
    cells.append(f"{1 + median(hooks[1:]):.4f}")
    u, v = torch.randn(2, IMAGE_TOKENS, width, dtype=dtype)
    least, probe, seed = (peak(way) / u.nbytes for way in ways)
    alone = peak(lambda: angular_distance(u, v)) / u.nbytes
    peaks = f"{least:5.1f} {probe - least:+5.2f} {seed - least:+5.2f} {alone:6.2f}"
    return " | ".join([*cells, peaks])


def main() -> None:
    """Measure every width and print its line as soon as it is known."""
    parser = argparse.ArgumentParser(description="Time and memory of the probe.")
    parser.add_argument("--width", type=int, nargs="+", default=list(BLOCKS))
    parser.add_argument("--rounds", type=int, help="for every width; default: from 5 to 15")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--similarity", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # keeps the profiler quiet
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    print("probe: both token settings (mean and last); seed: the last token only")
    print(f"{IMAGE_TOKENS} + {TEXT_TOKENS} tokens, {options.threads} thread(s)\n{COLUMNS}")
    bf16 = [(width, torch.bfloat16) for width in options.width if width == 1024]
    with torch.no_grad():
        for width, dtype in [*((width, torch.float32) for width in options.width), *bf16]:
            rounds = options.rounds or ROUNDS.get(width, 5)
            print(line_of(width, dtype, rounds, clock, options.similarity), flush=True)


if __name__ == "__main__":
    main()
