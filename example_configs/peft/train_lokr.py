"""Train a weighted LoKr with peft: measure, plan, train, save, reload, draw samples.

On the digits model that comes with lokr-weighting, on a CPU, in minutes:

    python train_lokr.py --model digits --data my_digits --output out --steps 300 --lr 2e-3

On Stable Diffusion 3.5 or Flux.1, on one GPU or, with `accelerate launch`, on several:

    accelerate launch train_lokr.py --model stabilityai/stable-diffusion-3.5-medium
        --data my_pictures --output out --resolution 1024 --precision bf16 --budget uniform:8

Run again with --resume it goes on from its newest checkpoint. `out/adapter` loads in stock peft and
in diffusers; see docs/peft.md.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers import DiffusionPipeline
from diffusers.training_utils import cast_training_params
from diffusers.utils import make_image_grid
from torch import Tensor, nn
from tqdm import tqdm

from lokr_weighting import Plan, calibrate, make_plan, read_plan, write_plan
from lokr_weighting.data.encoding import Encoder
from lokr_weighting.data.folder import find_images
from lokr_weighting.data.images import crop_size, open_image, random_crop, to_array
from lokr_weighting.data.samples import crop_rng
from lokr_weighting.models.loading import load_pipeline, pipeline_folder
from lokr_weighting.targets import peft as weighted

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", required=True, help="digits, a pipeline folder, or a hub id")
    parser.add_argument("--data", type=Path, required=True, help="images with captions")
    parser.add_argument("--output", type=Path, default=Path("out"))
    parser.add_argument("--plan", type=Path, help="a finished plan; by default it is measured")
    parser.add_argument("--budget", help="120M, 240MiB or uniform:8")
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--accumulate", type=int, default=1, help="batches for each step")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--precision", choices=DTYPES, default="no")
    parser.add_argument("--checkpoint-steps", type=int, default=250)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--guidance", type=float, default=4.0, help="of the samples")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def encoded(args: argparse.Namespace, pipeline: Any, device: torch.device) -> Any:
    """Every image and caption as latents and embeddings, on the CPU."""
    encoder = Encoder(pipeline, device)
    examples = []
    folder = find_images(args.data)
    for number, item in enumerate(tqdm(folder.items, desc="Encoding")):
        image = open_image(folder.root / item.name)
        size = crop_size(*image.size, args.resolution, False, encoder.multiple)
        crop = random_crop(image, size, crop_rng(args.seed, number, 0))
        encoder.encode_image(number, torch.from_numpy(to_array(crop)))
        for caption in item.captions:
            encoder.encode_caption(caption)
            embeddings = {name: each[0] for name, each in encoder.embeddings[caption].items()}
            examples.append({"latents": encoder.latents[number][0], **embeddings})
    encoder.free()
    return examples


def predict_sd3(model: nn.Module, noisy: Tensor, batch: dict[str, Tensor], t: Tensor) -> Tensor:
    """Stable Diffusion 3: latents as they are, timesteps up to 1000."""
    return model(
        hidden_states=noisy,
        timestep=t * 1000,
        encoder_hidden_states=batch["prompt_embeds"],
        pooled_projections=batch["pooled_prompt_embeds"],
        return_dict=False,
    )[0]


def predict_flux(model: nn.Module, noisy: Tensor, batch: dict[str, Tensor], t: Tensor) -> Tensor:
    """Flux.1: latents in patches of 2 x 2, with their places."""
    from diffusers import FluxPipeline

    size, channels, height, width = noisy.shape
    place = {"device": noisy.device, "dtype": noisy.dtype}
    packed = model(
        hidden_states=FluxPipeline._pack_latents(noisy, size, channels, height, width),
        timestep=t,
        guidance=torch.ones(size, **place),
        encoder_hidden_states=batch["prompt_embeds"],
        pooled_projections=batch["pooled_prompt_embeds"],
        txt_ids=torch.zeros(batch["prompt_embeds"].shape[1], 3, **place),
        img_ids=FluxPipeline._prepare_latent_image_ids(size, height // 2, width // 2, **place),
        return_dict=False,
    )[0]
    return FluxPipeline._unpack_latents(packed, height * 8, width * 8, 8)


PREDICT: dict[str, Callable[..., Tensor]] = {
    "StableDiffusion3Pipeline": predict_sd3,
    "FluxPipeline": predict_flux,
}


def measured_plan(args: argparse.Namespace, transformer: nn.Module, data: Any, step: Any) -> Plan:
    """Measure the blocks on the training data and plan."""
    batches = torch.utils.data.DataLoader(data, args.batch_size, shuffle=True)
    with tqdm(desc="Measuring", unit="sample") as bar:

        def show(count: int, *_: object) -> None:
            bar.update(count - bar.n)

        calibration = calibrate(
            transformer, batches, step, budget=args.budget, seed=args.seed, on_progress=show
        )
    return make_plan(calibration, transformer, budget=args.budget, name=args.model)


def main() -> None:
    """Measure, plan, train, save, reload, draw samples."""
    args = arguments()
    accelerator = Accelerator(
        mixed_precision=args.precision, gradient_accumulation_steps=args.accumulate
    )
    set_seed(args.seed)
    device, dtype = accelerator.device, DTYPES[args.precision]
    folder = pipeline_folder(args.model)
    pipeline = load_pipeline(folder, dtype)
    data = encoded(args, pipeline, device)
    predict = PREDICT[type(pipeline).__name__]
    transformer = pipeline.transformer.to(device).requires_grad_(False)

    def step(model: nn.Module, batch: dict[str, Tensor], t: Tensor) -> Tensor:
        """The flow-matching loss of a batch at timesteps t in (0, 1)."""
        batch = {name: each.to(device, dtype) for name, each in batch.items()}
        noise = torch.randn_like(batch["latents"])
        share = t.to(dtype).view(-1, 1, 1, 1)
        noisy = (1 - share) * batch["latents"] + share * noise
        prediction = predict(model, noisy, batch, t.to(dtype))
        return nn.functional.mse_loss(prediction.float(), (noise - batch["latents"]).float())

    kept = args.plan or args.output / "plan.json"
    if accelerator.is_main_process and not args.plan and not (args.resume and kept.exists()):
        write_plan(kept, measured_plan(args, transformer, data, step))
    accelerator.wait_for_everyone()
    plan = read_plan(kept)
    model = weighted.get_peft_model(transformer, plan)
    weighted.save_memory(model)
    cast_training_params(model)
    if args.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    trainable = [each for each in model.parameters() if each.requires_grad]
    accelerator.print(f"{plan.parameters:,} trainable parameters in {len(plan.linears)} Linears")

    loader: Any = torch.utils.data.DataLoader(data, args.batch_size, shuffle=True)
    optimizer: Any = torch.optim.AdamW(trainable, lr=args.lr)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    first = go_on(args, accelerator, model) if args.resume else 0
    model.train()
    bar = tqdm(
        total=args.steps, initial=first, desc="Training", disable=not accelerator.is_main_process
    )
    losses = []
    done = first
    while done < args.steps:
        for batch in loader:
            with accelerator.accumulate(model):
                t = torch.sigmoid(torch.randn(len(batch["latents"]), device=device))
                loss = step(model, batch, t)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(trainable, 1.0)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(accelerator.reduce(loss.detach(), "mean"))
            if not accelerator.sync_gradients:
                continue
            done += 1
            bar.update()
            bar.set_postfix(loss=f"{float(sum(losses[-50:])) / len(losses[-50:]):.4f}")
            if done % args.checkpoint_steps == 0:
                save_checkpoint(args.output / f"checkpoint-{done}", accelerator, model)
            if done >= args.steps:
                break
    if accelerator.is_main_process:
        weighted.save_pretrained(accelerator.unwrap_model(model), args.output / "adapter")
        draw_samples(args, folder, dtype, device)
    accelerator.end_training()


def save_checkpoint(folder: Path, accelerator: Accelerator, model: nn.Module) -> None:
    """The adapters, and what accelerate keeps beside the model: optimizer and random states."""
    remove = accelerator.register_save_state_pre_hook(
        lambda _models, weights, _dir: weights.clear()
    )
    accelerator.save_state(str(folder))
    remove.remove()
    if accelerator.is_main_process:
        weighted.save_pretrained(accelerator.unwrap_model(model), folder / "adapter")


def go_on(args: argparse.Namespace, accelerator: Accelerator, model: nn.Module) -> int:
    """Load the newest checkpoint; the step it was made at."""
    found = [int(path.name.split("-")[1]) for path in args.output.glob("checkpoint-*")]
    if not found:
        return 0
    newest = args.output / f"checkpoint-{max(found)}"
    hook = accelerator.register_load_state_pre_hook(lambda models, _: models.clear())
    accelerator.load_state(str(newest))
    hook.remove()
    weighted.load_into(accelerator.unwrap_model(model), newest / "adapter")
    accelerator.print(f"Going on from {newest}")
    return max(found)


def draw_samples(
    args: argparse.Namespace, folder: Path, dtype: torch.dtype, device: torch.device
) -> None:
    """Load the adapter into a fresh pipeline and draw some of the captions."""
    pipeline: Any = DiffusionPipeline.from_pretrained(folder, dtype=dtype).to(device)
    pipeline.set_progress_bar_config(disable=True)
    weighted.load_lora_adapter(pipeline.transformer, args.output / "adapter")
    captions = sorted({item.captions[0] for item in find_images(args.data).items})[:8]
    images = [
        pipeline(
            caption,
            height=args.resolution,
            width=args.resolution,
            num_inference_steps=28,
            guidance_scale=args.guidance,
            generator=torch.Generator().manual_seed(args.seed),
        ).images[0]
        for caption in captions
    ]
    make_image_grid(images, 1, len(images)).save(args.output / "samples.png")


if __name__ == "__main__":
    main()
