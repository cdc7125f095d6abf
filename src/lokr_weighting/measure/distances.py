"""The distances of one forward, and the records that they become."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lokr_weighting.records.pairs import Pairs
from lokr_weighting.records.record import Measured, NotFinite, Record


@dataclass(frozen=True)
class Distances:
    """The distances of one forward: every array is (batch, blocks) float32.

    `image` and `text` average every real token, `image_last` and `text_last` are the last token's
    (the SD3.5-Large study's), `text_last_real` the last text token's that is no padding, as far as
    that is known. Image is NaN where a block has text alone (`has_image` is False), text where it
    hands no text on (`has_text` is False; both (blocks,) of bool); any other NaN is a hidden state
    that was not finite. Where it was asked for, the two `*_pairs` are the similarity of every pair
    of blocks, (batch, pairs) as in `Pairs`.
    """

    image: np.ndarray
    text: np.ndarray
    image_last: np.ndarray
    text_last: np.ndarray
    text_last_real: np.ndarray
    has_image: np.ndarray
    has_text: np.ndarray
    image_pairs: np.ndarray | None = None
    text_pairs: np.ndarray | None = None

    @property
    def not_finite(self) -> np.ndarray:
        """Which blocks of which sample had NaN or Inf, (batch, blocks) of bool."""
        return (np.isnan(self.image) & self.has_image) | (np.isnan(self.text) & self.has_text)


def measured_of(
    distances: Distances, blocks: Sequence[str], timesteps: Sequence[float], first: int
) -> list[Measured]:
    """The samples of one forward, numbered from `first`, as records or as not finite."""
    measured: list[Measured] = []
    for row, timestep in enumerate(timesteps):
        broken = distances.not_finite[row]
        if broken.any():
            measured.append(NotFinite(sample=first + row, block=blocks[int(broken.argmax())]))
            continue
        record = Record(
            timestep=timestep,
            hidden_states=_known(distances.image[row], distances.has_image),
            encoder_hidden_states=_with_text(distances.text[row], distances.has_text),
            hidden_states_last=_known(distances.image_last[row], distances.has_image),
            encoder_hidden_states_last=_with_text(distances.text_last[row], distances.has_text),
            encoder_hidden_states_last_real=_with_text(
                distances.text_last_real[row], distances.has_text
            ),
            sample=first + row,
        )
        if distances.image_pairs is not None and distances.text_pairs is not None:
            record = record.with_pairs(Pairs(distances.image_pairs[row], distances.text_pairs[row]))
        measured.append(record)
    return measured


def _known(row: np.ndarray, known: np.ndarray) -> list[float | None]:
    """The shortest decimals that read back as the same float32; null for a block without."""
    return [float(str(value)) if has else None for value, has in zip(row, known, strict=True)]


def _with_text(row: np.ndarray, has_text: np.ndarray) -> list[float | None]:
    """The text stream's distances: null for a block without, and none after the last with."""
    values = _known(row, has_text)
    while values and values[-1] is None:
        values.pop()
    return values
