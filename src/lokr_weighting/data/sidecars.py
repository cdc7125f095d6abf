"""Captions in files beside the images, one for each image.

Named after the image's stem or its whole name: `a.txt` and `a.png.txt` belong to `a.png`. In `.txt`
and `.caption` every line that is not blank is a caption of its own, of which a sample draws one, as
SimpleTuner does; in `.json` it is the object's caption, a string or a list of strings. Where an
image has several such files the first in the order of `SUFFIXES` counts; the others are not read.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lokr_weighting.data.metadata import METADATA, Wanted, one_line
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import LARGEST_JSON, read_text
from lokr_weighting.parsing import parse_json

SUFFIXES = (".txt", ".caption", ".json")
KEYS = ("caption", "captions", "text", "prompt")
"""The keys of a .json file that may hold its captions, the first that is there."""


class Sidecars:
    """The files beside images.

    Args:
        files: every file of the folder.
        source: where captions are looked for.

    Attributes:
        read: the files that captions were taken from.
    """

    def __init__(self, files: Iterable[Path], source: Wanted) -> None:
        self.source, self.read = source, set[Path]()
        self._suffixes = SUFFIXES if source.suffix is None else (source.suffix,)
        self._by_stem: dict[tuple[Path, str], Path] = {}
        for path in files if source.sidecars else ():
            suffix = path.suffix.lower()
            if suffix in self._suffixes and path.name not in METADATA:
                self._by_stem.setdefault((path.with_suffix(""), suffix), path)

    def captions(self, image: Path) -> list[str]:
        """An image's captions, in the order of its file; none where it has no file.

        Raises:
            LokrWeightingError: the file cannot be read, or its caption is no text.
        """
        for suffix in self._suffixes:
            for stem in (image.with_suffix(""), image):
                file = self._by_stem.get((stem, suffix))
                if file is None:
                    continue
                # a pipe would be waited for without end
                if not file.is_file():
                    raise LokrWeightingError(f"{file}: is not a readable file")
                texts = self._json(file) if suffix == ".json" else _lines(file)
                if texts is not None:
                    self.read.add(file)
                    return texts
        return []

    def _json(self, file: Path) -> list[str] | None:
        """The captions in a .json file; None where it holds something else."""
        text = read_text(file, LARGEST_JSON).removeprefix("\ufeff")
        data: Any = parse_json(text, str(file))
        keys = KEYS if self.source.key is None else (self.source.key,)
        key = next((key for key in keys if isinstance(data, dict) and key in data), None)
        if key is None:
            return None
        texts = [data[key]] if isinstance(data[key], str) else data[key]
        if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
            raise LokrWeightingError(f"{file}: {key} must be a string or a list of strings")
        if not all(_is_unicode(text) for text in texts):
            raise LokrWeightingError(f"{file}: {key} holds half of a surrogate pair, no letter")
        return [one_line(text) for text in texts]


def _is_unicode(text: str) -> bool:
    """JSON can write what is no text, and no tokenizer takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lines(file: Path) -> list[str]:
    lines = map(one_line, read_text(file).split("\n"))
    return [line for line in lines if line]
