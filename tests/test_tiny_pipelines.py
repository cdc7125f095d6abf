"""The tiny pipelines load, draw, and take one step at a noise level of the caller's choice."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from tests.tiny_pipelines import KINDS, build

SIGMA = 0.3
SIDE = 64


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time to threads that wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, pipelines: Callable[[str], Path]) -> Path:
    return pipelines(kind)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    pipe = DiffusionPipeline.from_pretrained(folder).to(dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def text_inputs(pipe: Any, kind: str, prompt: str) -> dict[str, Tensor]:
    """The prompt as `pipe(...)` wants it when there is no guidance."""
    if kind == "flux":
        embeds, pooled, _text_ids = pipe.encode_prompt(prompt)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
    if kind == "auraflow":
        embeds, mask, *_ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}
    embeds, _, pooled, _ = pipe.encode_prompt(
        prompt, prompt_2=None, prompt_3=None, do_classifier_free_guidance=False
    )
    return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}


def noised_latents(pipe: Any, kind: str) -> Tensor:
    """A random image's latents, noised to SIGMA."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, SIDE, SIDE, generator=generator).to(pipe.vae.dtype) * 2 - 1
    clean = pipe.vae.encode(image).latent_dist.mode()
    clean = (clean - (pipe.vae.config.shift_factor or 0)) * pipe.vae.config.scaling_factor
    noise = torch.randn(clean.shape, generator=generator).to(clean.dtype)
    noised = (1 - SIGMA) * clean + SIGMA * noise
    return pipe._pack_latents(noised, *noised.shape) if kind == "flux" else noised


@torch.no_grad()
def one_step(pipe: Any, kind: str, prompt: str = "a red circle") -> Tensor:
    """One step at SIGMA, without guidance."""
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)
    return pipe(
        **text_inputs(pipe, kind, prompt),
        latents=noised_latents(pipe, kind),
        height=SIDE,
        width=SIDE,
        num_inference_steps=1,
        sigmas=[SIGMA],
        guidance_scale=1.0,
        output_type="latent",
    ).images


def weights(folder: Path) -> dict[str, Tensor]:
    return load(folder).transformer.state_dict()


def test_folder_is_small_and_loads_as_its_pipeline(kind: str, folder: Path) -> None:
    pipelines = {"flux": "FluxPipeline", "auraflow": "AuraFlowPipeline"}
    assert type(load(folder)).__name__ == pipelines.get(kind, "StableDiffusion3Pipeline")
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 10e6


def test_draws_finite_images(folder: Path) -> None:
    images = load(folder)(
        prompt="a red circle", height=SIDE, width=SIDE, num_inference_steps=2, output_type="np"
    ).images
    assert images.shape == (1, SIDE, SIDE, 3)
    assert np.isfinite(images).all()


def test_seed_decides_the_weights(kind: str, folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    build(kind, tmp_path / "again")
    build(kind, tmp_path / "other", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    first, again, other = (weights(at) for at in (folder, tmp_path / "again", tmp_path / "other"))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_one_step_asks_the_transformer_once_at_the_given_noise(kind: str, folder: Path) -> None:
    pipe = load(folder)
    seen: list[Tensor] = []

    def note(_module: nn.Module, _args: Any, keywords: dict[str, Any]) -> None:
        seen.append(keywords["timestep"])

    pipe.transformer.register_forward_pre_hook(note, with_kwargs=True)
    assert one_step(pipe, kind).isfinite().all()
    unit = 1000 if kind.startswith("sd3") else 1
    assert len(seen) == 1
    assert seen[0].tolist() == pytest.approx([SIGMA * unit])


def test_prompt_matters(kind: str, folder: Path) -> None:
    pipe = load(folder)
    assert not torch.equal(one_step(pipe, kind), one_step(pipe, kind, "two blue squares"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_block_turns_its_hidden_states(kind: str, folder: Path, dtype: torch.dtype) -> None:
    pipe = load(folder, dtype)
    turns: dict[str, float] = {}

    def measure(name: str, before: Tensor, after: Tensor) -> None:
        cosines = nn.functional.cosine_similarity(before.double(), after.double(), dim=-1)
        turns[name] = (cosines.clamp(-1, 1).arccos() / math.pi).mean().item()

    def hook(name: str) -> Any:
        def note(_module: nn.Module, _args: Any, keywords: dict[str, Any], output: Any) -> None:
            text, image = output if isinstance(output, tuple) else (None, output)
            measure(f"{name} image", keywords["hidden_states"], image)
            if text is not None:
                measure(f"{name} text", keywords["encoder_hidden_states"], text)

        return note

    for name, blocks in pipe.transformer.named_children():
        if isinstance(blocks, nn.ModuleList):
            for number, block in enumerate(blocks):
                block.register_forward_hook(hook(f"{name}.{number}"), with_kwargs=True)
    assert one_step(pipe, kind).isfinite().all()
    streams = {"sd3": 11, "sd3.5-medium": 11, "flux": 14, "auraflow": 8}
    assert len(turns) == streams[kind]
    assert all(0.03 < turn < 0.5 for turn in turns.values()), turns
