"""Finding a diffusers pipeline, loading it, and putting it where it will run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.denoiser import DENOISERS, denoiser_name
from lokr_weighting.models.experts import NAMES
from lokr_weighting.models.identity import INDEX, read_index
from lokr_weighting.models.known import shipped_pipeline
from lokr_weighting.models.limits import few_modules
from lokr_weighting.models.table import pipeline_call
from lokr_weighting.parsing import shortened

Offload = Literal["none", "group", "sequential"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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
    if folder.is_file():
        raise LokrWeightingError(f"{model}: is a file; a diffusers pipeline folder is wanted")
    if not (folder / INDEX).is_file():
        raise LokrWeightingError(
            f"{model}: no {INDEX} in this folder; a diffusers pipeline folder is wanted"
        )
    index = read_index(folder)
    name = index["_class_name"]
    try:
        refused = pipeline_call(name).refused
    except LokrWeightingError as error:
        raise LokrWeightingError(f"{folder / INDEX}: _class_name: {error}") from None
    for key, reason in refused.items():
        if index.get(key) not in (None, [None, None]):
            raise LokrWeightingError(f"{model}: this {name} has {key}: {reason}")
    for part in (denoiser_name(index), "vae"):
        if not (folder / part / "config.json").is_file():
            raise LokrWeightingError(f"{model}: no {part}/config.json in this pipeline folder")
    return folder


def load_pipeline(
    pipeline: Path,
    dtype: torch.dtype,
    quantization: dict[str, Any] | None = None,
    device: torch.device | None = None,
    transformer: str | None = None,
) -> Any:
    """Load the pipeline on the CPU, its weights where runs can be compared bit by bit.

    Args:
        pipeline: as for `load_unchanged`.
        dtype: the same.
        quantization: the same.
        device: where it will run.
        transformer: of two transformers the one that is loaded alone.

    Raises:
        LokrWeightingError: diffusers cannot load it; with its reason.
    """
    loaded = load_unchanged(pipeline, dtype, quantization, transformer)
    if device is not None and device.type == "cpu":
        for component in loaded.components.values():
            if isinstance(component, torch.nn.Module):
                _align(component)
    return loaded


def load_unchanged(
    pipeline: Path,
    dtype: torch.dtype,
    quantization: dict[str, Any] | None = None,
    transformer: str | None = None,
) -> Any:
    """Load the pipeline on the CPU, as it is.

    Args:
        pipeline: the pipeline's folder.
        dtype: of the weights.
        quantization: "backend" (as diffusers calls it: "bitsandbytes_4bit", "torchao", ...) and
            the arguments of its configuration class, for the transformer or UNet.
        transformer: of two transformers the one that is loaded; None: all there is.

    Raises:
        LokrWeightingError: diffusers cannot load it; with its reason.
    """
    import diffusers

    # asked for, not left to defaults: weights without pickle, and no code of the folder's
    options: dict[str, Any] = {
        "dtype": dtype,
        "local_files_only": True,
        "use_safetensors": True,
        "trust_remote_code": False,
    }
    pipeline_class: Any = diffusers.DiffusionPipeline
    try:
        if transformer is not None:
            # only the class itself knows that it can do without
            pipeline_class = getattr(diffusers, read_index(pipeline)["_class_name"])
            options |= {name: None for name in NAMES if name != transformer}
        if quantization is not None:
            name = transformer or denoiser_name(read_index(pipeline))
            options["quantization_config"] = _quantization_config(quantization, name)
        with few_modules(str(pipeline)):
            loaded = pipeline_class.from_pretrained(pipeline, **options)
    except LokrWeightingError:
        raise
    # a damaged folder makes the libraries raise nearly anything
    except Exception as error:
        reason = " ".join(str(error).split())
        raise LokrWeightingError(f"{pipeline}: diffusers cannot load this: {reason}") from error
    loaded.set_progress_bar_config(disable=True)
    return loaded


def _quantization_config(quantization: dict[str, Any], model: str) -> Any:
    """Diffusers' configuration for the model alone: what else runs here runs once."""
    from diffusers.quantizers import PipelineQuantizationConfig
    from diffusers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    backend = quantization.get("backend")
    if not isinstance(backend, str) or backend not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        known = ", ".join(AUTO_QUANTIZATION_CONFIG_MAPPING)
        raise LokrWeightingError(
            f"quantization: backend = {shortened(repr(backend))}: use one of {known}"
        )
    arguments = {name: value for name, value in quantization.items() if name != "backend"}
    try:
        config = AUTO_QUANTIZATION_CONFIG_MAPPING[backend](**arguments)
    # each of these classes checks in its own way
    except Exception as error:
        raise LokrWeightingError(
            f"quantization: {backend} refuses this: {shortened(str(error), 300)}"
        ) from None
    return PipelineQuantizationConfig(quant_mapping={model: config})


def _align(module: torch.nn.Module) -> None:
    """Move weights to memory of their own.

    As parts of a mapped file they may begin at any address, and a CPU's products differ in the
    last bit with the address: runs could not be compared bit by bit.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in eval mode; then every module in the mode it had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


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
    """The same for each model of a pipeline; those beside the transformer or UNet go in groups."""
    for name, component in pipeline.components.items():
        if isinstance(component, torch.nn.Module):
            in_parts = offload != "none" and name not in DENOISERS
            place(component, device, "group" if in_parts else offload)
