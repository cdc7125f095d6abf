"""Which model it is: everything of a pipeline's folder that decides what it measures."""

import re
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lokr_weighting.digests import file_digests, short_digest, unread_bytes
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json
from lokr_weighting.parsing import shortened

if TYPE_CHECKING:
    from torch import Tensor, nn

INDEX = "model_index.json"
SCHEDULER = "scheduler"
"""The component that is not used as it is, where the model needs no schedule of its own."""
LIBRARIES = ("diffusers", "transformers")
"""Where the classes of components may come from."""
COMPONENT = re.compile(r"\w+")
"""The names of components: they are folders beside the index."""
SAMPLED_BYTES, SAMPLED_PLACES = 4096, 64
SAMPLED_NUMBERS = 256
MANY = 1 << 30  # bytes that take long enough to read for a word


def weights_fingerprint(model: Path) -> str:
    """A short fingerprint of a model's files: sizes, and bytes from all over each.

    Calibrations of earlier versions know the model by this alone.

    Args:
        model: the transformer's or UNet's folder in its pipeline's.
    """
    return short_digest(
        part for file in sorted(model.iterdir()) if file.is_file() for part in _sampled(file)
    )


def module_fingerprint(module: "nn.Module") -> str:
    """A short fingerprint of a module in memory: its tensors' names, kinds, and numbers from each.

    Of every tensor some hundred numbers from all over it count; of one that is not there (meta) or
    is wrapped (quantised, sharded) its name and kind alone.
    """
    import torch

    def parts() -> Iterator[bytes | str]:
        for name, tensor in sorted(module.state_dict().items()):
            yield f"{name} {type(tensor).__name__}\n"
            if type(tensor) is torch.Tensor:
                yield from sampled_parts(tensor)

    return short_digest(parts())


def sampled_parts(tensor: "Tensor") -> Iterator[bytes | str]:
    """A tensor's dtype and shape, and some hundred numbers from all over it where it has any."""
    import torch

    yield f"{tensor.dtype} {tuple(tensor.shape)}\n"
    if tensor.numel() and tensor.device.type != "meta":
        flat = tensor.detach().reshape(-1)
        sampled = flat[:: max(1, flat.numel() // SAMPLED_NUMBERS)].contiguous()
        yield sampled.view(torch.uint8).cpu().numpy().tobytes()


def pipeline_fingerprint(
    pipeline: Path, say: Callable[[str], None] = lambda _: None, *, scheduled: bool = False
) -> str:
    """A short fingerprint of every file of the pipeline that decides a record, whole.

    Of the transformer, VAE, text encoders and tokenizers it is all files; of a file that was read
    before and has not changed, the digest is remembered.

    Args:
        pipeline: the pipeline's folder.
        say: called with what a user should know where much is to be read.
        scheduled: whether the scheduler's configuration decides a record too.

    Raises:
        LokrWeightingError: a file cannot be read.
    """
    try:
        files = _files(pipeline, scheduled)
        if (size := unread_bytes(files)) > MANY:
            say(f"reading the model's {size / 1e9:,.0f} GB once, to know it again")
        digests = file_digests(files)
    except OSError as error:
        raise LokrWeightingError(
            f"{error.filename or pipeline}: cannot be read: {error.strerror}"
        ) from None
    return short_digest(
        f"{file.relative_to(pipeline).as_posix()!r} {digest}\n"
        for file, digest in zip(files, digests, strict=True)
    )


def read_index(pipeline: Path) -> dict[str, Any]:
    """What a pipeline's folder says of itself, checked before anything of it is used.

    Raises:
        LokrWeightingError: it names no class, or a component that is none of diffusers' or
            transformers'; names the key.
    """
    index = read_json(pipeline / INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str):
        raise LokrWeightingError(
            f"{pipeline / INDEX}: _class_name = {shortened(repr(name))}: the pipeline's class is "
            "wanted"
        )
    for name, value in index.items():
        if not isinstance(value, list) or value == [None, None]:
            continue
        # diffusers imports whatever package is named here
        known = len(value) == 2 and _is_library(value[0]) and isinstance(value[1], str)
        if not (known and COMPONENT.fullmatch(name)):
            raise LokrWeightingError(
                f"{pipeline / INDEX}: {shortened(name)} = {shortened(repr(value))}: a class of "
                f"{' or '.join(LIBRARIES)} is wanted; other code is not run"
            )
    return index


def _is_library(name: Any) -> bool:
    """Whether a component's class comes from there, or from one of diffusers' own pipelines."""
    if name in LIBRARIES:
        return True
    if not isinstance(name, str) or not COMPONENT.fullmatch(name):
        return False
    return (resources.files("diffusers") / "pipelines" / name).is_dir()


def _files(pipeline: Path, scheduled: bool) -> list[Path]:
    """The index, and the files of every component that it names and that is used."""
    components = [
        name
        for name, value in sorted(read_index(pipeline).items())
        if isinstance(value, list) and value[0] is not None
        if scheduled or name != SCHEDULER
    ]
    files = [pipeline / INDEX]
    for name in components:
        files += sorted(
            file
            for file in (pipeline / name).rglob("*")
            if file.is_file() and not file.name.startswith(".")
        )
    return files


def _sampled(file: Path) -> Iterator[bytes | str]:
    """A file's name and size, and bytes from all over it."""
    size = file.stat().st_size
    yield f"{file.name} {size}\n"
    with file.open("rb") as opened:
        for part in range(SAMPLED_PLACES):
            opened.seek(part * max(size - SAMPLED_BYTES, 0) // (SAMPLED_PLACES - 1))
            yield opened.read(SAMPLED_BYTES)
