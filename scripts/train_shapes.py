"""Train the small Stable Diffusion 3 pipeline that draws coloured shapes.

    python scripts/train_shapes.py --output FOLDER --steps 4000 --minutes 100

Everything is made here, nothing is downloaded: tokenizers, three frozen random text encoders, an
autoencoder (64x64 images to 16x8x8 latents) and a 16-block transformer, the last two trained on
pictures of ``shapes_images.py``. The transformer sees only the task ``base``; the autoencoder also
the other tasks, so that a fine-tuned transformer can show them. FOLDER becomes an ordinary
diffusers folder, its large parts in bfloat16. The losses, a sheet of samples, a reader of the
pictures and a summary go to ``FOLDER-report``, or where ``--report`` says.

Text is short: 20 tokens of both CLIP encoders, 20 of T5 with ``max_sequence_length=20``. A step of
the transformer, 64 pictures on one processor core, takes about 0.8 s with patches of 2 (16 image
tokens) and 1.5 s with patches of 1 (64 image tokens): so patches of 2, and more steps.

The same command goes on from where it was stopped: what it has made lies in ``FOLDER-work``. Runs
on the processor with a fixed seed. Needs matplotlib and scikit-learn besides torch, diffusers and
transformers.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusion3Pipeline
from losses import Losses, write_losses
from shapes.autoencoder import encode_pictures, fit_scale, rebuild, train_autoencoder
from shapes.fitting import Recipe
from shapes.pictures import draw_pictures, write_rebuilt, write_sheet
from shapes.pipeline import make_pipeline, save_pipeline
from shapes.reader import agreement, train_reader
from shapes.transformer import SAMPLES, draw_samples, mean_loss, train_transformer
from shapes_images import TASKS, caption

BASE_PICTURES = 30_000
MIXED_PICTURES = 12_000
HELD_OUT_PICTURES = 2_000


def main() -> None:
    """Train everything, save the pipeline and write the report."""
    parser = argparse.ArgumentParser(description="Train the small pipeline that draws shapes.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pipeline")
    parser.add_argument("--report", type=Path, help="folder for losses and samples")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default 0)")
    parser.add_argument("--steps", type=int, default=4000, help="transformer's (default 4000)")
    parser.add_argument("--rate", type=float, default=1e-3, help="transformer's (default 0.001)")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="end the training this long after the start"
    )
    arguments = parser.parse_args()
    output, seed = arguments.output, arguments.seed
    report = arguments.report or output.with_name(output.name + "-report")
    work = output.with_name(output.name + "-work")
    for folder in (report, work):
        folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    start = time.monotonic()

    base = draw_pictures(work / "base.pt", BASE_PICTURES, seed, TASKS[:1])
    mixed = draw_pictures(work / "mixed.pt", MIXED_PICTURES, seed + 1, TASKS)
    held_out = draw_pictures(work / "held_out.pt", HELD_OUT_PICTURES, seed + 2, TASKS[:1])
    held_out_mixed = draw_pictures(work / "held_out_mixed.pt", HELD_OUT_PICTURES, seed + 3, TASKS)
    print(f"pictures drawn, {time.monotonic() - start:.0f} s", flush=True)
    torch.manual_seed(seed)
    pipeline = make_pipeline()
    losses: dict[str, Losses] = {}
    losses["autoencoder"] = train_autoencoder(pipeline.vae, [base, mixed], work, seed)
    rebuilt = rebuild(pipeline.vae, held_out_mixed)
    write_rebuilt(held_out_mixed, rebuilt, report / "rebuilt.png")
    reader, losses["reader"] = train_reader(mixed, work, seed)
    reader.save(report / "reader.safetensors")
    summary: dict[str, Any] = {
        "reader_accuracy": agreement(
            reader.read_pixels(held_out_mixed.batch(slice(None))), held_out_mixed.scenes
        ),
        "reader_accuracy_on_rebuilt": agreement(reader.read_pixels(rebuilt), held_out_mixed.scenes),
    }
    print(json.dumps(summary, indent=1), flush=True)
    fit_scale(pipeline.vae, base)
    latents = encode_pictures(pipeline.vae, base, work / "latents.pt")
    held_out_latents = encode_pictures(pipeline.vae, held_out, work / "held_out_latents.pt")
    captions = [caption(scene) for scene in base.scenes]
    recipe = Recipe(
        "transformer", arguments.steps, arguments.rate, weight_decay=0.01, average=0.999, seed=seed
    )
    print(f"transformer starts, {time.monotonic() - start:.0f} s", flush=True)
    deadline = start + 60 * arguments.minutes
    progress = train_transformer(pipeline, latents, captions, recipe, work, deadline)
    losses["transformer"] = progress.losses
    transformer_minutes = round((time.monotonic() - progress.start) / 60, 1)
    write_losses(losses, report)
    held_out_captions = [caption(scene) for scene in held_out.scenes]
    summary |= {
        "steps": progress.steps,
        "planned_steps": recipe.steps,
        "held_out_loss": mean_loss(pipeline, held_out_latents, held_out_captions),
        "loss_on_training_pictures": mean_loss(pipeline, latents, captions),
    }
    save_pipeline(pipeline, output)

    saved = StableDiffusion3Pipeline.from_pretrained(output, dtype=torch.float32)
    saved.set_progress_bar_config(disable=True)
    for task in TASKS[:2]:
        images, scenes = draw_samples(saved, task, seed)
        summary[f"samples_of_{task}_read_as_their_caption"] = agreement(reader.read(images), scenes)
        name = "samples.png" if task == "base" else f"samples_{task}.png"
        write_sheet(images, [caption(scene) for scene in scenes], report / name)
    minutes = round((time.monotonic() - start) / 60, 1)
    summary |= {"samples": SAMPLES, "transformer_minutes": transformer_minutes, "minutes": minutes}
    (report / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
