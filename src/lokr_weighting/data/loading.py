"""Finding a diffusers pipeline, loading it, and putting it where it will run."""

import hashlib
from pathlib import Path
from typing import Any, Literal

import torch

from lokr_weighting.architectures import shipped_pipeline
from lokr_weighting.data.ways import way_of
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json

Offload = Literal["none", "group", "sequential"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SAMPLED_BYTES, SAMPLED_PLACES = 4096, 64


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
    way_of(read_json(folder / "model_index.json")["_class_name"])
    return folder


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
        folder: as for `load_unchanged`.
        dtype: the same.
        quantization: the same.
        device: where it will run.

    Raises:
        LokrWeightingError: diffusers cannot load it; with its reason.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    pipeline = load_unchanged(folder, dtype, quantization)
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False)
    if device is not None and device.type == "cpu":
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                _align(component)
    return pipeline


def load_unchanged(
    folder: Path, dtype: torch.dtype, quantization: dict[str, Any] | None = None
) -> Any:
    """Load the pipeline on the CPU, as it is.

    Args:
        folder: the pipeline's folder.
        dtype: of the weights.
        quantization: "backend" (as diffusers calls it: "bitsandbytes_4bit", "torchao", ...) and
            the arguments of its configuration class, for the transformer.

    Raises:
        LokrWeightingError: diffusers cannot load it; with its reason.
    """
    from diffusers import DiffusionPipeline

    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True}
    try:
        if quantization is not None:
            options["quantization_config"] = _quantization_config(quantization)
        pipeline = DiffusionPipeline.from_pretrained(folder, **options)
    except LokrWeightingError:
        raise
    except (OSError, ValueError, ImportError, TypeError, KeyError, RuntimeError) as error:
        raise LokrWeightingError(f"{folder}: diffusers cannot load this: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
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


def place(module: torch.nn.Module, device: torch.device, offload: Offload) -> None:
    """Put a model where it will run, or have its parts brought there one by one."""
    module.eval()
    if offload == "group":
        from diffusers.hooks import apply_group_offloading

        apply_group_offloading(
            module,
            onload_device=device,
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
        )
    elif offload == "sequential":
        from accelerate import cpu_offload

        cpu_offload(module, execution_device=device)
    elif not getattr(module, "is_quantized", False):
        module.to(device)


def place_pipeline(pipeline: Any, device: torch.device, offload: Offload) -> None:
    """The same for each model of a pipeline; those beside the transformer go in groups."""
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            in_parts = offload != "none" and name != "transformer"
            place(component, device, "group" if in_parts else offload)
