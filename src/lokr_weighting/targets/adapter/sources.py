"""Which files an adapter is in, and what is said of it beside them."""

from dataclasses import dataclass
from pathlib import Path

from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.targets.adapter.configuration import Configuration, read_configuration
from lokr_weighting.targets.peft.layout import saved_names
from lokr_weighting.targets.replaced import NAME

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Source:
    """One file of an adapter.

    Attributes:
        file: the file of tensors.
        configuration: peft's, where one lies beside it.
    """

    file: Path
    configuration: Configuration | None = None


def sources_of(path: Path) -> list[Source]:
    """The files of an adapter.

    Args:
        path: a LyCORIS, kohya or diffusers file, a peft adapter's folder, or one of several that
            belong together.

    Raises:
        LokrWeightingError: there is none, or it is no adapter with weights.
    """
    if path.is_dir():
        return [_of_peft(folder) for folder in _adapters_in(path)]
    if not path.exists():
        raise LokrWeightingError(f"{path}: there is no such file or folder")
    if path.suffix != SUFFIX:
        raise LokrWeightingError(
            f"{path}: only adapters saved as *{SUFFIX} are read: pickled files can run code"
        )
    if path.name == SAFETENSORS_WEIGHTS_NAME and (path.parent / CONFIG_NAME).is_file():
        return sources_of(path.parent)
    return [Source(path)]


def _adapters_in(folder: Path) -> list[Path]:
    """The folders of the peft adapters in a folder: itself, or several that belong together."""
    if (folder / CONFIG_NAME).is_file():
        part = NAME.fullmatch(folder.name)
        if part is not None and int(part["count"]) > 1:
            saved_names(folder)  # says that all of them are wanted
        return [folder]
    if any(folder.glob(f"*/{CONFIG_NAME}")):
        return [folder / name for name in saved_names(folder)]
    files = sorted(each.name for each in folder.glob(f"*{SUFFIX}"))
    advice = f"give a file of it: {', '.join(files[:3])}" if files else f"nor a *{SUFFIX} file"
    raise LokrWeightingError(f"{folder}: holds no {CONFIG_NAME} of peft's; {advice}")


def _of_peft(folder: Path) -> Source:
    configuration = read_configuration(folder / CONFIG_NAME)
    file = folder / SAFETENSORS_WEIGHTS_NAME
    if not file.is_file():
        raise LokrWeightingError(
            f"{folder}: holds a {CONFIG_NAME} and no {file.name}: nothing was trained yet, or it "
            "was not saved as safetensors"
        )
    return Source(file, configuration)
