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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from diffusers.training_utils import EMAModel
from PIL import Image
from safetensors.torch import load_file, save_file
from shapes_images import (
    ATTRIBUTES,
    IMAGE_SIZE,
    TASKS,
    WORDS,
    Scene,
    caption,
    draw_scene,
    random_scene,
)
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor, nn
from torch.nn import functional
from train_digits import (
    Losses,
    Progress,
    cosine_with_warmup,
    encode_images,
    write_losses,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

CAPTION_LENGTH = 20
LATENT_CHANNELS = 16
CLIP_WIDTH = 32
T5_WIDTH = 64
CHECKPOINT_EVERY = 200
KL_WEIGHT = 2e-7
CAPTION_DROPOUT = 0.1
BASE_PICTURES = 30_000
MIXED_PICTURES = 12_000
HELD_OUT_PICTURES = 2_000
READ_ATTRIBUTES = ("shape", "colour", "count", "place")
SAMPLES = 64
GUIDANCE = 4.0
SAMPLING_STEPS = 28


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: AdamW, a cosine down to zero, a running average of the weights.

    Attributes:
        name: what its losses and its checkpoint are called.
        steps: the length of the schedule.
        rate: the greatest learning rate.
        weight_decay: AdamW's.
        average: the running average's decay for each step.
        seed: of all chance in the training.
    """

    name: str
    steps: int
    rate: float
    weight_decay: float
    average: float
    seed: int


@dataclass(frozen=True)
class TextLength:
    """A ``max_sequence_length``, T5's tokens, that some of the training's steps have.

    Nearly all have the shortest. The transformer must know longer ones as well: what they add is
    padding, but that is attended to. Fewer pictures in these steps keep them as fast as the others.
    """

    tokens: int
    pictures: int
    share: float


TEXT_LENGTHS = (
    TextLength(tokens=CAPTION_LENGTH, pictures=64, share=0.9),
    TextLength(tokens=77, pictures=32, share=0.05),
    TextLength(tokens=256, pictures=16, share=0.05),
)


@dataclass(frozen=True)
class Pictures:
    """Drawn scenes, their pixels (count, 3, 64, 64) as bytes."""

    pixels: Tensor
    scenes: list[Scene]

    def batch(self, chosen: Tensor | slice) -> Tensor:
        """Return some pictures' pixels in [-1, 1]."""
        return self.pixels[chosen].float() / 127.5 - 1


def merging_order() -> list[list[str]]:
    """Return the captions' words as pieces, in an order in which each can become one token.

    Merges are made in their order. So a word comes before all that begin as it goes on, as "top"
    does inside "bottom".
    """
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in WORDS}
    order = TopologicalSorter(
        {
            word: [
                other
                for other, inside in words.items()
                if any(pieces[:2] == inside[start : start + 2] for start in range(1, len(other)))
            ]
            for word, pieces in words.items()
        }
    )
    return [words[word] for word in order.static_order()]


def make_clip_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer that knows the captions' words and spells out all others."""
    letters = sorted(ByteLevel.alphabet())
    merges = []
    for start, *rest in merging_order():
        for piece in rest:
            if (start, piece) not in merges:
                merges.append((start, piece))
            start += piece
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += dict.fromkeys(a + b for a, b in merges)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CAPTION_LENGTH)


def make_t5_tokenizer() -> T5Tokenizer:
    """Return a T5 tokenizer that knows the captions' words and spells out all others."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    vocabulary += [("▁" + word, -4.0) for word in WORDS]
    vocabulary += [(chr(code), -8.0) for code in range(ord("!"), ord("~") + 1)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=CAPTION_LENGTH)


def freeze(encoder: nn.Module) -> None:
    """Freeze an encoder with weights that bfloat16 can hold, for pipelines loaded as such."""
    encoder.to(torch.bfloat16).to(torch.float32).eval().requires_grad_(False)


def make_clip_encoder(tokenizer: Any) -> CLIPTextModelWithProjection:
    """Return a random CLIP text encoder that tells words and their order apart.

    CLIP starts small, which makes all captions look alike to an encoder that is never trained. So
    the layers start twice as large, the token embeddings are drawn again at a scale of 1 and the
    position embeddings, which tell an object's colour from the ground's, at a scale of 0.5.
    """
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=CLIP_WIDTH,
        intermediate_size=2 * CLIP_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=CLIP_WIDTH,
        max_position_embeddings=CAPTION_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=2.0,
    )
    encoder: Any = CLIPTextModelWithProjection(config)
    nn.init.normal_(encoder.get_input_embeddings().weight)
    for name, weight in encoder.named_parameters():
        if name.endswith("position_embedding.weight"):
            nn.init.normal_(weight, std=0.5)
    freeze(encoder)
    return encoder


def make_t5_encoder(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """Return a random T5 encoder, as small as its width allows."""
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=T5_WIDTH,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
    )
    encoder = T5EncoderModel(config)
    freeze(encoder)
    return encoder


def make_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder with SD3's latent channels and spatial factor 8.

    All channels are normalised in one group, which leaves flat colours as they are, and it starts
    with little noise in the latents. Either makes it learn several times faster.
    """
    levels: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (16, 32, 32, 32),
    }
    autoencoder = AutoencoderKL(
        **levels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=IMAGE_SIZE,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    log_variance: Any = autoencoder.encoder.conv_out.bias
    nn.init.constant_(log_variance[LATENT_CHANNELS:], -5.0)
    return autoencoder


def make_transformer() -> SD3Transformer2DModel:
    """Return an untrained transformer in the manner of SD3.5, every block starting as identity."""
    transformer: Any = SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        num_layers=16,
        num_attention_heads=6,
        attention_head_dim=16,
        caption_projection_dim=96,
        joint_attention_dim=T5_WIDTH,
        pooled_projection_dim=2 * CLIP_WIDTH,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )
    modulations = [transformer.norm_out.linear, transformer.proj_out]
    for block in transformer.transformer_blocks:
        modulations += [block.norm1.linear, block.norm1_context.linear]
    for layer in modulations:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return transformer


def make_pipeline() -> StableDiffusion3Pipeline:
    """Put all parts together, nothing trained yet."""
    clip_tokenizer, t5_tokenizer = make_clip_tokenizer(), make_t5_tokenizer()
    return StableDiffusion3Pipeline(
        transformer=make_transformer(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        vae=make_autoencoder(),
        text_encoder=make_clip_encoder(clip_tokenizer),
        tokenizer=clip_tokenizer,
        text_encoder_2=make_clip_encoder(clip_tokenizer),
        tokenizer_2=clip_tokenizer,
        text_encoder_3=make_t5_encoder(t5_tokenizer),
        tokenizer_3=t5_tokenizer,
    )


def save_whole(data: Any, path: Path) -> None:
    """Write a file in one step."""
    unfinished = path.with_name(f".{path.name}.part")
    torch.save(data, unfinished)
    unfinished.replace(path)


def draw_pictures(path: Path, count: int, seed: int, tasks: tuple[str, ...]) -> Pictures:
    """Draw scenes of the tasks in turn and keep them in ``path``, or return what lies there."""
    if not path.exists():
        rng = np.random.default_rng(seed)
        scenes = [random_scene(rng, tasks[index % len(tasks)]) for index in range(count)]
        pixels = np.stack([np.asarray(draw_scene(scene, rng)) for scene in scenes])
        save_whole(
            {
                "pixels": torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(),
                "scenes": [asdict(scene) for scene in scenes],
            },
            path,
        )
    stored = torch.load(path, weights_only=True)
    return Pictures(stored["pixels"], [Scene(**scene) for scene in stored["scenes"]])


def fit(
    network: nn.Module,
    batch_loss: Callable[[], tuple[Tensor, Tensor]],
    recipe: Recipe,
    work: Path,
    deadline: float = math.inf,
) -> Progress:
    """Train a network by its recipe and leave the averaged weights in place.

    Args:
        network: what is trained, in place.
        batch_loss: draws a batch and returns the loss to lower and the loss to report.
        recipe: how it is trained.
        work: where the checkpoint lies; a training that was stopped goes on from it exactly.
        deadline: the time on ``time.monotonic`` at which the training ends early.

    Returns:
        The progress, with the number of steps that were really made.
    """
    path = work / f"{recipe.name}.pt"
    weights = list(network.parameters())
    optimizer = torch.optim.AdamW(
        weights, lr=recipe.rate, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
    )
    schedule = cosine_with_warmup(optimizer, recipe.steps)
    average = EMAModel(weights, decay=recipe.average)
    progress = Progress(recipe.name)
    torch.manual_seed(recipe.seed)
    if path.exists():
        stored = torch.load(path, weights_only=True)
        network.load_state_dict(stored["network"])
        optimizer.load_state_dict(stored["optimizer"])
        schedule.load_state_dict(stored["schedule"])
        average.load_state_dict(stored["average"])
        torch.set_rng_state(stored["chance"])
        progress.steps, progress.losses = stored["steps"], stored["losses"]
        progress.pending = stored["pending"]
        progress.start = time.monotonic() - stored["seconds"]
        print(f"{recipe.name} goes on from step {progress.steps} of {recipe.steps}", flush=True)
    network.train()
    while progress.steps < recipe.steps and time.monotonic() < deadline:
        loss, reported = batch_loss()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        average.step(weights)
        progress.add(reported)
        last = progress.steps == recipe.steps or time.monotonic() >= deadline
        if last or progress.steps % CHECKPOINT_EVERY == 0:
            save_whole(
                {
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "average": average.state_dict(),
                    "chance": torch.get_rng_state(),
                    "steps": progress.steps,
                    "losses": progress.losses,
                    "pending": progress.pending,
                    "seconds": time.monotonic() - progress.start,
                },
                path,
            )
    if progress.steps < recipe.steps:
        print(f"{recipe.name} ends early at step {progress.steps} of {recipe.steps}", flush=True)
    average.copy_to(weights)
    network.eval()
    return progress


class ReaderNetwork(nn.Sequential):
    """From pixels in [-1, 1] to the scores of all values of all attributes, side by side."""

    def __init__(self) -> None:
        """Start untrained."""
        layers: list[nn.Module] = []
        before = 3
        for width, stride in ((16, 1), (32, 2), (48, 2), (64, 2), (64, 2)):
            layers += [nn.Conv2d(before, width, 3, stride, 1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        values = sum(map(len, ATTRIBUTES.values()))
        layers += [nn.Flatten(), nn.Linear(64 * (IMAGE_SIZE // 16) ** 2, 128), nn.SiLU()]
        super().__init__(*layers, nn.Linear(128, values))


class SceneReader:
    """Reads which scene a picture of any task shows."""

    def __init__(self, network: ReaderNetwork) -> None:
        """Read with a trained network."""
        self.network = network.eval()

    @classmethod
    def load(cls, path: Path) -> "SceneReader":
        """Return the reader that :meth:`save` wrote."""
        network = ReaderNetwork()
        network.load_state_dict(load_file(path))
        return cls(network)

    def save(self, path: Path) -> None:
        """Write the reader as safetensors."""
        save_file(self.network.state_dict(), path)

    def read(self, images: list[Image.Image]) -> list[Scene]:
        """Return the scene that each image seems to show."""
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        return self.read_pixels(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)

    @torch.no_grad()
    def read_pixels(self, pixels: Tensor) -> list[Scene]:
        """Return the scene that each image, (count, 3, 64, 64) in [-1, 1], seems to show."""
        scores = torch.cat([self.network(part) for part in pixels.split(100)])
        parts = scores.split([len(values) for values in ATTRIBUTES.values()], dim=1)
        read = {
            name: [values[index] for index in part.argmax(1).tolist()]
            for (name, values), part in zip(ATTRIBUTES.items(), parts, strict=True)
        }
        rows = zip(*read.values(), strict=True)
        return [Scene(**dict(zip(read, row, strict=True))) for row in rows]


def agreement(read: list[Scene], meant: list[Scene]) -> dict[str, float]:
    """Return the share of scenes read as meant, by attribute and for all that matter at once."""
    pairs = list(zip(read, meant, strict=True))
    equal = {
        name: np.array([getattr(a, name) == getattr(b, name) for a, b in pairs])
        for name in ATTRIBUTES
    }
    together = np.all([equal[name] for name in READ_ATTRIBUTES], axis=0)
    shares = {name: float(values.mean()) for name, values in equal.items()}
    return {**shares, "_".join(READ_ATTRIBUTES): float(together.mean())}


def train_reader(pictures: Pictures, work: Path, seed: int) -> tuple[SceneReader, Losses]:
    """Train a reader on pictures with a little noise and, half of the time, a little blur."""
    names = list(ATTRIBUTES)
    targets = torch.tensor(
        [[ATTRIBUTES[n].index(getattr(scene, n)) for n in names] for scene in pictures.scenes]
    )
    sizes = [len(ATTRIBUTES[name]) for name in names]
    torch.manual_seed(seed)
    network = ReaderNetwork()

    def batch_loss() -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(targets), (64,))
        pixels = pictures.batch(chosen)
        if torch.rand(()) < 0.5:
            pixels = 0.5 * pixels + 0.5 * functional.avg_pool2d(pixels, 3, 1, 1)
        scores = network(pixels + 0.1 * torch.rand(()) * torch.randn_like(pixels))
        parts = zip(scores.split(sizes, dim=1), targets[chosen].unbind(1), strict=True)
        loss = torch.stack([functional.cross_entropy(part, target) for part, target in parts]).sum()
        return loss, loss

    recipe = Recipe("reader", 1200, rate=2e-3, weight_decay=0.01, average=0.99, seed=seed)
    progress = fit(network, batch_loss, recipe, work)
    return SceneReader(network), progress.losses


def train_autoencoder(vae: Any, pictures: list[Pictures], work: Path, seed: int) -> Losses:
    """Train for reconstruction with a small KL term and return the reconstruction losses.

    The convolutions run in bfloat16 with the channels last, which halves their time.
    """
    pixels = torch.cat([part.pixels for part in pictures])
    vae.to(memory_format=torch.channels_last)

    def batch_loss() -> tuple[Tensor, Tensor]:
        batch = pixels[torch.randint(len(pixels), (16,))].float() / 127.5 - 1
        batch = batch.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(batch).latent_dist
            rebuilt = vae.decode(posterior.sample()).sample
        reconstruction = functional.mse_loss(rebuilt.float(), batch)
        return reconstruction + KL_WEIGHT * posterior.kl().mean(), reconstruction

    recipe = Recipe("autoencoder", 6000, rate=2e-3, weight_decay=0.0, average=0.995, seed=seed)
    losses = fit(vae, batch_loss, recipe, work).losses
    vae.to(memory_format=torch.contiguous_format)
    return losses


def fit_scale(vae: Any, pictures: Pictures) -> None:
    """Fit the autoencoder's scale and shift to the first 1000 pictures, see train_digits."""
    torch.manual_seed(0)
    encode_images(vae, pictures.batch(slice(1000)))


@torch.no_grad()
def encode_pictures(vae: Any, pictures: Pictures, path: Path) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of all latents, scaled and shifted, and keep them in ``path``."""
    if not path.exists():
        posteriors = [
            vae.encode(pictures.batch(slice(start, start + 500))).latent_dist
            for start in range(0, len(pictures.pixels), 500)
        ]
        save_whole(
            {
                "mean": torch.cat([posterior.mean for posterior in posteriors]),
                "deviation": torch.cat([posterior.std for posterior in posteriors]),
            },
            path,
        )
    stored = torch.load(path, weights_only=True)
    scale = vae.config.scaling_factor
    return (stored["mean"] - vae.config.shift_factor) * scale, stored["deviation"] * scale


@torch.no_grad()
def encode_captions(pipeline: Any, captions: list[str], length: int) -> tuple[Tensor, Tensor]:
    """Return the embeddings and pooled embeddings of captions, as the pipeline makes them."""
    embeddings, _, pooled, _ = pipeline.encode_prompt(
        captions, None, None, do_classifier_free_guidance=False, max_sequence_length=length
    )
    return embeddings, pooled


def flow_loss(
    pipeline: StableDiffusion3Pipeline, clean: Tensor, captions: list[str], length: int
) -> Tensor:
    """Return the flow matching loss of a batch of latents at uniform times."""
    embeddings, pooled = encode_captions(pipeline, captions, length)
    noise = torch.randn_like(clean)
    time_ = torch.rand(len(clean))
    mix = time_[:, None, None, None]
    velocity = pipeline.transformer(
        hidden_states=(1 - mix) * clean + mix * noise,
        timestep=time_ * 1000,
        encoder_hidden_states=embeddings,
        pooled_projections=pooled,
    ).sample
    return functional.mse_loss(velocity, noise - clean)


def train_transformer(
    pipeline: StableDiffusion3Pipeline,
    latents: tuple[Tensor, Tensor],
    captions: list[str],
    recipe: Recipe,
    work: Path,
    deadline: float,
) -> Progress:
    """Train with flow matching, the captions left out now and then."""
    mean, deviation = latents
    shares = torch.tensor([length.share for length in TEXT_LENGTHS])

    def batch_loss() -> tuple[Tensor, Tensor]:
        length = TEXT_LENGTHS[int(torch.multinomial(shares, 1))]
        chosen = torch.randint(len(mean), (length.pictures,))
        clean = mean[chosen] + deviation[chosen] * torch.randn_like(mean[chosen])
        kept = (torch.rand(length.pictures) >= CAPTION_DROPOUT).tolist()
        pairs = zip(chosen.tolist(), kept, strict=True)
        texts = [captions[index] if keep else "" for index, keep in pairs]
        loss = flow_loss(pipeline, clean, texts, length.tokens)
        return loss, loss

    return fit(pipeline.transformer, batch_loss, recipe, work, deadline)


@torch.no_grad()
def mean_loss(
    pipeline: StableDiffusion3Pipeline, latents: tuple[Tensor, Tensor], captions: list[str]
) -> float:
    """Return the mean loss on the first 2000 pictures, always with the same noise."""
    torch.manual_seed(0)
    mean, deviation = (part[:2000] for part in latents)
    clean = mean + deviation * torch.randn_like(mean)
    losses = [
        flow_loss(pipeline, part, captions[100 * index :][:100], CAPTION_LENGTH).item()
        for index, part in enumerate(clean.split(100))
    ]
    return float(np.mean(losses))


def draw_samples(pipeline: Any, task: str, seed: int) -> tuple[list[Image.Image], list[Scene]]:
    """Return the pipeline's images of ``SAMPLES`` random scenes of a task, and the scenes."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(rng, task) for _ in range(SAMPLES)]
    drawn: Any = pipeline(
        [caption(scene) for scene in scenes],
        guidance_scale=GUIDANCE,
        num_inference_steps=SAMPLING_STEPS,
        max_sequence_length=CAPTION_LENGTH,
        generator=torch.Generator().manual_seed(seed),
    )
    return drawn.images, scenes


def write_sheet(images: list[Image.Image], titles: list[str], path: Path) -> None:
    """Write images as one sheet, eight in a row, each below its title."""
    rows = math.ceil(len(images) / 8)
    figure, axes = plt.subplots(rows, 8, figsize=(16, 2.4 * rows), layout="constrained")
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, title in zip(axes.flat, images, titles, strict=False):
        axis.imshow(image)
        axis.set_title(title.replace(" on a", "\non a"), fontsize=7)
    figure.savefig(path, dpi=64)
    plt.close(figure)
    with Image.open(path) as sheet:
        sheet.convert("RGB").quantize(256).save(path, optimize=True)


@torch.no_grad()
def rebuild(vae: Any, pictures: Pictures) -> Tensor:
    """Return what the autoencoder makes of pictures, in [-1, 1]."""
    parts = [pictures.batch(slice(n, n + 100)) for n in range(0, len(pictures.pixels), 100)]
    rebuilt = [vae.decode(vae.encode(part).latent_dist.mode()).sample for part in parts]
    return torch.cat(rebuilt).clamp(-1, 1)


def write_rebuilt(pictures: Pictures, rebuilt: Tensor, path: Path) -> None:
    """Write 32 pictures, each beside what the autoencoder makes of it."""
    images, titles = [], []
    for index in range(32):
        made = ((rebuilt[index] + 1) * 127.5).round().byte()
        images += [
            Image.fromarray(p.permute(1, 2, 0).numpy()) for p in (pictures.pixels[index], made)
        ]
        titles += [caption(pictures.scenes[index]), "rebuilt"]
    write_sheet(images, titles, path)


def save_pipeline(pipeline: Any, folder: Path) -> None:
    """Write the diffusers folder, its transformer and autoencoder in bfloat16."""
    pipeline.transformer.to(torch.bfloat16)
    pipeline.vae.to(torch.bfloat16)
    pipeline.save_pretrained(folder)
    for tokenizer in ("tokenizer", "tokenizer_2"):
        pipeline.tokenizer.backend_tokenizer.model.save(str(folder / tokenizer))


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
