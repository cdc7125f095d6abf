"""Which model it is: everything of a pipeline's folder that decides what it measures."""

from collections.abc import Callable, Iterator
from pathlib import Path

from lokr_weighting.digests import file_digests, short_digest, unread_bytes
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import read_json

INDEX = "model_index.json"
SCHEDULER = "scheduler"
"""The component that is not used as it is, where the model needs no schedule of its own."""
SAMPLED_BYTES, SAMPLED_PLACES = 4096, 64
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


def _files(pipeline: Path, scheduled: bool) -> list[Path]:
    """The index, and the files of every component that it names and that is used."""
    index = read_json(pipeline / INDEX)
    components = [
        name
        for name, value in sorted(index.items())
        if isinstance(value, list) and value and value[0] is not None
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
