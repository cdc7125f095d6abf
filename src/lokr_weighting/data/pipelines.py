"""A diffusers pipeline as the forward: encode once, then one transformer call for each sample.

Text and the transformer's inputs are diffusers' work. A text-to-image pipeline called with noised
`latents`, `num_inference_steps=1`, `sigmas=[t]`, no guidance and an unshifted flow-match scheduler
runs its transformer once, at exactly timestep t.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lokr_weighting.architectures import shipped_pipeline
from lokr_weighting.draw import Sample
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.probe import Distances, Probe

Offload = Literal["none", "group", "sequential"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SAMPLED_BYTES, SAMPLED_PLACES = 4096, 64


@dataclass(frozen=True)
class Way:
    """How one class of pipelines encodes a caption and is called without guidance.

    Attributes:
        encode: arguments of `encode_prompt` beside the prompt.
        returned: the call's argument that each returned value is handed to; None: not needed.
        call: further arguments of the call.
        mask: the returned argument that marks real tokens, where there is one.
        packed: whether latents are handed over in 2x2 patches.
    """

    encode: Mapping[str, Any]
    returned: tuple[str | None, ...]
    call: Mapping[str, Any]
    mask: str | None = None
    packed: bool = False


WAYS: dict[str, Way] = {
    "StableDiffusion3Pipeline": Way(
        encode={"prompt_2": None, "prompt_3": None, "do_classifier_free_guidance": False},
        returned=("prompt_embeds", None, "pooled_prompt_embeds", None),
        call={"guidance_scale": 1.0},
    ),
    "FluxPipeline": Way(
        encode={"prompt_2": None},
        returned=("prompt_embeds", "pooled_prompt_embeds", None),
        call={"guidance_scale": 1.0},
        packed=True,
    ),
    "AuraFlowPipeline": Way(
        encode={"do_classifier_free_guidance": False},
        returned=("prompt_embeds", "prompt_attention_mask", None, None),
        call={"guidance_scale": 1.0},
        mask="prompt_attention_mask",
    ),
}


def pipeline_folder(model: str, revision: str | None = None) -> Path:
    """The pipeline's folder on this machine: shipped, local, or the hub's, downloaded if need be.

    Raises:
        LokrWeightingError: there is no such folder or repository, or it is no pipeline.
    """
    folder = shipped_pipeline(model) or Path(model)
    if not folder.exists():
        from diffusers import DiffusionPipeline
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        try:
            folder = Path(DiffusionPipeline.download(model, revision=revision))
        except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise LokrWeightingError(
                f"{model!r}: there is no such folder, and no pipeline could be had from the hub "
                f"({reason}); give a local diffusers pipeline folder or a hub id"
            ) from None
    if not (folder / "model_index.json").is_file():
        raise LokrWeightingError(
            f"{model}: no model_index.json in this folder; a diffusers pipeline folder is wanted"
        )
    way_of(json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["_class_name"])
    return folder


def way_of(pipeline_class: str) -> Way:
    """The table's row for a class of pipelines.

    Raises:
        LokrWeightingError: there is none; names those there are.
    """
    if pipeline_class not in WAYS:
        raise LokrWeightingError(
            f"{pipeline_class} is not among the pipelines that can be run here "
            f"({', '.join(WAYS)}); with a loop of your own use lokr_weighting.calibrate"
        )
    return WAYS[pipeline_class]


def weights_fingerprint(folder: Path) -> str:
    """A short fingerprint of the transformer's files: sizes, and bytes from all over each."""
    digest = hashlib.sha256()
    for file in sorted((folder / "transformer").iterdir()):
        if not file.is_file():
            continue
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as opened:
            for place in range(SAMPLED_PLACES):
                opened.seek(place * max(size - SAMPLED_BYTES, 0) // (SAMPLED_PLACES - 1))
                digest.update(opened.read(SAMPLED_BYTES))
    return digest.hexdigest()[:16]


def load_pipeline(
    folder: Path,
    dtype: torch.dtype,
    quantization: dict[str, Any] | None = None,
    device: torch.device | None = None,
) -> Any:
    """Load the pipeline on the CPU with an unshifted flow-match scheduler.

    Args:
        folder: the pipeline's folder.
        dtype: of the weights.
        quantization: "backend" (as diffusers calls it: "bitsandbytes_4bit", "torchao", ...) and
            the arguments of its configuration class, for the transformer.
        device: where it will run.

    Raises:
        LokrWeightingError: diffusers cannot load it; with its reason.
    """
    from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler

    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True}
    try:
        if quantization is not None:
            options["quantization_config"] = _quantization_config(quantization)
        pipeline = DiffusionPipeline.from_pretrained(folder, **options)
    except LokrWeightingError:
        raise
    except (OSError, ValueError, ImportError, TypeError, KeyError, RuntimeError) as error:
        raise LokrWeightingError(f"{folder}: diffusers cannot load this: {error}") from error
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)
    pipeline.set_progress_bar_config(disable=True)
    if device is not None and device.type == "cpu":
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                _align(component)
    return pipeline


def _quantization_config(quantization: dict[str, Any]) -> Any:
    """Diffusers' configuration for the transformer alone: what else runs here runs once."""
    from diffusers.quantizers import PipelineQuantizationConfig
    from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    backend = quantization.get("backend")
    if backend not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        known = ", ".join(AUTO_QUANTIZATION_CONFIG_MAPPING)
        raise LokrWeightingError(f"quantization: backend = {backend!r}: use one of {known}")
    arguments = {name: value for name, value in quantization.items() if name != "backend"}
    config = AUTO_QUANTIZATION_CONFIG_MAPPING[backend](**arguments)
    return PipelineQuantizationConfig(quant_mapping={"transformer": config})


def _align(module: torch.nn.Module) -> None:
    """Move weights to memory of their own.

    As parts of a mapped file they may begin at any address, and a CPU's products differ in the
    last bit with the address: runs could not be compared bit by bit.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


@dataclass
class Encoder:
    """Turns crops and captions into latents and embeddings, each once, kept on the CPU.

    Attributes:
        pipeline: the pipeline; its VAE and text encoders are used.
        device: where they run.
        latents: what was encoded, by a key of the caller's.
        embeddings: the call's arguments for each caption.
    """

    pipeline: Any
    device: torch.device
    latents: dict[Any, Tensor] = field(default_factory=dict)
    embeddings: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    @property
    def multiple(self) -> int:
        """What an image's sides must be multiples of, in pixels: a patch of two latents."""
        return 2 * self.pipeline.vae_scale_factor

    @torch.no_grad()
    def encode_image(self, key: Any, pixels: Tensor) -> None:
        """Encode an image, (3, height, width) in [-1, 1], to the mode of its latents."""
        vae = self.pipeline.vae.to(self.device)
        encoded = vae.encode(pixels[None].to(self.device, vae.dtype)).latent_dist.mode()
        shift = getattr(vae.config, "shift_factor", None) or 0.0
        self.latents[key] = ((encoded - shift) * vae.config.scaling_factor).cpu()

    @torch.no_grad()
    def encode_caption(self, caption: str) -> None:
        """Encode a caption, once."""
        if caption in self.embeddings:
            return
        for name, component in self.pipeline.components.items():
            if name.startswith("text_encoder") and component is not None:
                component.to(self.device)
        way = way_of(type(self.pipeline).__name__)
        returned = self.pipeline.encode_prompt(prompt=caption, device=self.device, **way.encode)
        self.embeddings[caption] = {
            name: value.cpu()
            for name, value in zip(way.returned, returned, strict=True)
            if name is not None
        }

    def free(self) -> None:
        """Let go of the VAE, the text encoders and their memory."""
        for name, component in self.pipeline.components.items():
            if name == "vae" or name.startswith("text_encoder"):
                if component is not None and not getattr(component, "is_quantized", False):
                    component.to("cpu")
                setattr(self.pipeline, name, None)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


class PipelineForward:
    """Measures one sample: noise its latents, run the transformer once, take the distances.

    Args:
        encoder: everything encoded; its pipeline's transformer is run.
        probe: the probe on that transformer, entered.
        offload: keep the transformer on the CPU and bring its parts when they are needed, by
            diffusers' group offloading or accelerate's sequential offloading.
    """

    def __init__(self, encoder: Encoder, probe: Probe, offload: Offload = "none") -> None:
        self.encoder, self.probe = encoder, probe
        self.pipeline = encoder.pipeline
        self.way = way_of(type(self.pipeline).__name__)
        place_transformer(self.pipeline.transformer, encoder.device, offload)

    def __call__(self, sample: Sample, latents_key: Any, caption: str) -> Distances:
        """The distances of one sample, a batch of one."""
        self.probe.samples = [sample.index]
        self.loss(sample, latents_key, caption)
        return self.probe.take()

    @torch.no_grad()
    def loss(self, sample: Sample, latents_key: Any, caption: str) -> Tensor:
        """Run one sample; its flow-matching loss, on the device."""
        device, scale = self.encoder.device, self.pipeline.vae_scale_factor
        clean = self.encoder.latents[latents_key]
        generator = torch.Generator().manual_seed(sample.noise_seed)
        noise = torch.randn(clean.shape, generator=generator).to(clean.dtype)
        latents = ((1 - sample.timestep) * clean + sample.timestep * noise).to(device)
        _, channels, height, width = latents.shape
        if self.way.packed:
            latents, clean = (
                self.pipeline._pack_latents(each, 1, channels, height, width)
                for each in (latents, clean)
            )
        embeddings = self.encoder.embeddings[caption]
        if self.way.mask is not None:
            # AuraFlow's mask repeats each token's entry over the embedding's width
            tokens = embeddings["prompt_embeds"].shape[:2]
            self.probe.text_mask = embeddings[self.way.mask].reshape(*tokens, -1)[..., 0]
        denoised = self.pipeline(
            latents=latents,
            height=height * scale,
            width=width * scale,
            num_inference_steps=1,
            sigmas=[sample.timestep],
            output_type="latent",
            **{name: value.to(device) for name, value in embeddings.items()},
            **self.way.call,
        ).images
        # one step from t to 0 takes t times the predicted velocity away
        missed = (denoised - clean.to(device)).float() / sample.timestep
        return missed.square().mean()


def place_transformer(transformer: torch.nn.Module, device: torch.device, offload: Offload) -> None:
    """Put the transformer where it will run, or have its parts brought there one by one."""
    transformer.eval()
    if offload == "group":
        from diffusers.hooks import apply_group_offloading

        apply_group_offloading(
            transformer,
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
        )
    elif offload == "sequential":
        from accelerate import cpu_offload

        cpu_offload(transformer, execution_device=device)
    elif not getattr(transformer, "is_quantized", False):
        transformer.to(device)
