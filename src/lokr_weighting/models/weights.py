"""The norms of a model's weights, read from its files one tensor at a time."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json
from lokr_weighting.models.denoiser import DENOISERS
from lokr_weighting.models.known import shipped_pipeline

STEM = "diffusion_pytorch_model"
"""How diffusers calls the files of a transformer or UNet."""


class Weights:
    """The norms of a model's weights; a context manager, which keeps their files open.

    Args:
        folder: the transformer's or UNet's own folder, as diffusers writes it; None: no weights are
            at hand.

    Raises:
        LokrWeightingError: a file of weights cannot be read.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        with ExitStack() as opened:
            for path in [] if folder is None else _files(folder):
                file = open_tensors(path, opened)
                self._files |= dict.fromkeys(file.keys(), file)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def norm(self, name: str, shape: tuple[int, ...]) -> float | None:
        """The Frobenius norm of a Linear's or a convolution's weight.

        Args:
            name: its full name in the model.
            shape: its weight's shape.

        Returns:
            the norm; None where the weight is not at hand, or is packed by a quantization.
        """
        key = f"{name}.weight"
        if key not in self._files:
            return None
        weight = self._files[key].get_tensor(key)
        if tuple(weight.shape) != shape or not weight.is_floating_point():
            return None
        if weight.element_size() < 2:
            weight = weight.float()  # of 8 bits there are no sums
        return float(torch.linalg.vector_norm(weight, dtype=torch.float64))


def open_tensors(path: Path, opened: ExitStack) -> Any:
    """Open a safetensors file, of which only what is asked for is read.

    Args:
        path: the file.
        opened: closes it.

    Raises:
        LokrWeightingError: it is none, or cannot be read.
    """
    try:
        return opened.enter_context(safe_open(path, framework="pt"))
    # besides its own error the library raises the system's
    except Exception as error:
        raise LokrWeightingError(f"{path}: is no safetensors file: {error}") from None


def weights_folder(model: str) -> Path | None:
    """Where a model's weights are on this machine: its transformer's or UNet's folder.

    Args:
        model: as for `load_config`.

    Returns:
        the folder, of a local folder, of a pipeline that comes with the package, or of what the hub
        gave before; None where there are no weights, as of an architecture known by name, or where
        they are quantized.
    """
    local = shipped_pipeline(model) or Path(model)
    if not local.exists():
        local = _downloaded(model)
    if local is None or not local.is_dir():
        return None
    for folder in (*(local / name for name in DENOISERS), local):
        config = folder / "config.json"
        if config.is_file() and _files(folder):
            return None if read_json(config).get("quantization_config") else folder
    return None


def _downloaded(model: str) -> Path | None:
    """The hub's folder of a model that was downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    if model.count("/") != 1:
        return None
    for name in DENOISERS:
        try:
            found = try_to_load_from_cache(model, f"{name}/config.json")
        except ValueError:  # no name that the hub could have
            return None
        if isinstance(found, str):
            return Path(found).parents[1]
    return None


def _files(folder: Path) -> list[Path]:
    """The files of weights in a folder: those its index names, or the one that there is."""
    for index in sorted(folder.glob(f"{STEM}.safetensors.index*.json")):
        shards = read_json(index).get("weight_map")
        if isinstance(shards, dict):
            names = sorted({name for name in shards.values() if isinstance(name, str)})
            found = [folder / Path(name).name for name in names]
            return [file for file in found if file.is_file()]
    whole = folder / f"{STEM}.safetensors"
    return [whole] if whole.is_file() else sorted(folder.glob(f"{STEM}.*.safetensors"))[:1]
