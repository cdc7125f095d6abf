"""Transformers without their weights: known by name, or from a folder's or a hub's config."""

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json
from lokr_weighting.models.denoiser import DENOISERS
from lokr_weighting.models.limits import check_sides, few_modules
from lokr_weighting.models.skeleton import Skeleton, parse_skeleton, skeleton_of
from lokr_weighting.models.table import checkpoints
from lokr_weighting.parsing import shortened

if TYPE_CHECKING:
    from torch import nn


SHIPPED = ("digits",)
"""Pipelines inside the package, weights and all."""


def shipped_pipeline(name: str) -> Path | None:
    """The folder of a pipeline that comes with the package: "digits", or None."""
    return Path(str(resources.files("lokr_weighting"))) / name if name in SHIPPED else None


def load_config(model: str) -> dict[str, Any]:
    """The transformer's configuration.

    Args:
        model: a known architecture ("sd3.5-large", or its hub id, which needs no network), the
            shipped pipeline "digits", a local diffusers folder (a pipeline's or the transformer's
            own), or another hub id.

    Raises:
        LokrWeightingError: none of these; says what was looked for.
    """
    if name := _checkpoint_name(model):
        return dict(checkpoints()[name].config)
    local = shipped_pipeline(model) or Path(model)
    if local.exists():
        parts = [local / name / "config.json" for name in DENOISERS]
        for file in (*parts, local / "config.json", local):
            if file.is_file():
                return _checked(read_json(file), str(file))
        raise LokrWeightingError(
            f"{model}: no transformer/config.json, unet/config.json or config.json in this folder; "
            "a diffusers pipeline, transformer or UNet folder is wanted"
        )
    return _from_hub(model)


def empty_transformer(model: str) -> "nn.Module":
    """Build the model's transformer on the meta device: all of its modules, none of its weights.

    Raises:
        LokrWeightingError: as `load_config`, or diffusers cannot build it from the config.
    """
    config = load_config(model)
    import diffusers
    import torch

    class_name = config.pop("_class_name")
    transformer_class: Any = getattr(diffusers, class_name, None)
    bases = getattr(transformer_class, "__mro__", ())
    if torch.nn.Module not in bases:
        raise LokrWeightingError(
            f"{model}: diffusers {diffusers.__version__} has no class {shortened(class_name)} of "
            "models"
        )
    try:
        with torch.device("meta"), few_modules(model):
            transformer = transformer_class.from_config(config)
    except LokrWeightingError:
        raise
    # a configuration without sense makes the library raise nearly anything
    except Exception as error:
        reason = shortened(" ".join(str(error).split()) or type(error).__name__, 300)
        raise LokrWeightingError(
            f"{model}: diffusers {diffusers.__version__} cannot build a {class_name} "
            f"from this config: {reason}"
        ) from None
    check_sides(transformer, model)
    return transformer


def load_skeleton(model: str) -> Skeleton:
    """The modules of the model's transformer; known architectures and "digits" need no library.

    Raises:
        LokrWeightingError: as `empty_transformer`.
    """
    name = model if model in SHIPPED else _checkpoint_name(model)
    if name is None:
        return skeleton_of(empty_transformer(model))
    file = resources.files("lokr_weighting.models") / "skeletons" / f"{name}.json"
    return parse_skeleton(file.read_text(encoding="utf-8"))


def find_skeleton(model: str | None) -> Skeleton | None:
    """As `load_skeleton`; None where the model is not known or cannot be found."""
    try:
        return None if model is None else load_skeleton(model)
    except LokrWeightingError:
        return None


def _checkpoint_name(model: str) -> str | None:
    """The name of a model that is known by that name or hub id."""
    known = checkpoints().items()
    return next((name for name, each in known if model in (name, *each.hub_ids)), None)


def _checked(config: dict[str, Any], where: str) -> dict[str, Any]:
    if "_class_name" not in config:
        raise LokrWeightingError(f"{where}: key '_class_name' is missing: not a diffusers config")
    if not isinstance(name := config["_class_name"], str):
        raise LokrWeightingError(
            f"{where}: _class_name = {shortened(repr(name))}: the class's name is wanted"
        )
    return config


def _from_hub(model: str) -> dict[str, Any]:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    known = ", ".join(checkpoints())
    wanted = f"give a known architecture ({known}), a local diffusers folder, or a hub id"
    if model.count("/") != 1:
        raise LokrWeightingError(f"{model!r}: there is no such folder or architecture; {wanted}")
    try:
        file = _first_there(model)
    except HFValidationError:
        raise LokrWeightingError(f"{model!r}: there is no such folder; {wanted}") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise LokrWeightingError(
            f"{model!r}: no such folder, and its config could not be had from the hub ({reason}); "
            f"{wanted}"
        ) from None
    return _checked(read_json(Path(file)), f"{model} (hub)")


def _first_there(model: str) -> str:
    """The configuration's file, from the hub's folder of a transformer or a UNet."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    *others, last = DENOISERS
    for folder in others:
        try:
            return hf_hub_download(model, "config.json", subfolder=folder)
        except EntryNotFoundError:
            continue
    return hf_hub_download(model, "config.json", subfolder=last)
