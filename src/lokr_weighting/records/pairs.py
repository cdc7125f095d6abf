"""Pairs of blocks: how similar their hidden states are in one sample, and its line in a file."""

import json
from dataclasses import dataclass
from math import isqrt
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import faults, nulls

Cosine = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
DECIMALS = 5


@dataclass(frozen=True, eq=False)
class Pairs:
    """One sample's cosine similarity of every pair of blocks, each in [-1, 1].

    Attributes:
        image: the lower triangle of the image stream's matrix, row by row without the diagonal,
            (pairs,): blocks (1, 0), (2, 0), (2, 1), (3, 0), ...; NaN where a block has no image.
        text: the same of the text stream, NaN where a block hands no text on.
    """

    image: np.ndarray
    text: np.ndarray


class PairsLine(BaseModel):
    """One line of `similarity.jsonl`.

    Pairs of blocks that lack the stream are null; at the end of `text` they are left out.
    """

    model_config = ConfigDict(extra="forbid")

    sample: Annotated[int, Field(ge=0)]
    image: list[Cosine | None]
    text: list[Cosine | None]


def blocks_of_pairs(pairs: int) -> int:
    """How many blocks have so many pairs."""
    return (isqrt(8 * pairs + 1) + 1) // 2


def line_of(sample: int, pairs: Pairs) -> str:
    """A sample's pairs as a line, with five decimals."""
    image, text = (each.astype(float).round(DECIMALS) for each in (pairs.image, pairs.text))
    known = np.flatnonzero(~np.isnan(text))
    text = text[: known[-1] + 1] if known.size else text[:0]
    return json.dumps({"sample": sample, "image": nulls(image), "text": nulls(text)}) + "\n"


def parse_pairs(line: bytes, where: str) -> tuple[int, Pairs]:
    """A line's sample and pairs.

    Raises:
        LokrWeightingError: the line is none; the message begins with `where`.
    """
    try:
        parsed = PairsLine.model_validate_json(line)
    except ValidationError as error:
        raise LokrWeightingError(f"{where}: {faults(error, [*PairsLine.model_fields])}") from None
    count = len(parsed.image)
    blocks = blocks_of_pairs(count)
    if blocks * (blocks - 1) // 2 != count or len(parsed.text) > count:
        raise LokrWeightingError(
            f"{where}: image has {count} pairs and text {len(parsed.text)}; every pair of some "
            "blocks is wanted, e.g. 66 of 12"
        )
    image = np.array(parsed.image, dtype=float)
    text = np.full_like(image, np.nan)
    text[: len(parsed.text)] = parsed.text
    return parsed.sample, Pairs(image, text)
