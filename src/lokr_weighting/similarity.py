"""How similar the blocks' hidden states are: every pair of blocks, averaged over the samples.

As in "Transformer Layers as Painters" (Sun et al., arXiv 2407.09298), the hidden states behind two
blocks are compared token by token by their cosine; here for the image and the text stream apart.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lokr_weighting.blocks import places_in_lists
from lokr_weighting.calibration import Calibration
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.groups import Grouping, divide
from lokr_weighting.heatmaps import nulls
from lokr_weighting.pairs import blocks_of_pairs
from lokr_weighting.records import Records, heatmaps_of
from lokr_weighting.settle import RESAMPLES, resampled


@dataclass(frozen=True)
class Similarity:
    """The mean similarity of every pair of blocks, and the groups found in it.

    Attributes:
        model: the model that was measured, where known.
        blocks: the blocks' names.
        samples: how many samples were averaged, each timestep bin counting alike.
        image: cosine similarity in the image stream, (blocks, blocks), each in [-1, 1].
        text: the same in the text stream, NaN where a block hands no text on.
        image_error: standard errors, (blocks, blocks); None where a bin has a single sample.
        text_error: the same of the text stream.
        groupings: the groups of each list of blocks in each stream.
    """

    model: str | None
    blocks: tuple[str, ...]
    samples: int
    image: np.ndarray
    text: np.ndarray
    image_error: np.ndarray | None
    text_error: np.ndarray | None
    groupings: tuple[Grouping, ...]

    def groups_of(self, stream: str) -> list[tuple[str, int, int, str]]:
        """A stream's groups: the list's name, first and last block in the model, and the name."""
        lists = places_in_lists(self.blocks)
        return [
            (each.path, lists[each.path][group.first], lists[each.path][group.last], group.name)
            for each in self.groupings
            if each.stream == stream
            for group in each.groups
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values; null where a block hands no text on."""
        found: dict[str, Any] = {"schema_version": 1, **asdict(self)}
        for key in ("image", "text", "image_error", "text_error"):
            matrix = found[key]
            found[key] = None if matrix is None else [nulls(row) for row in matrix]
        for grouping in found["groupings"]:
            for group in grouping["groups"]:
                (group["similarity"],) = nulls(np.array([group["similarity"]]))
        return found


def similarity_of(
    calibration: Calibration, resamples: int = RESAMPLES, seed: int = 0
) -> Similarity:
    """Average a calibration's similarity and find the groups.

    Args:
        calibration: measured with similarity; samples that lack it are left out.
        resamples: how many resamples the groups' uncertainty is from.
        seed: decides them.

    Raises:
        LokrWeightingError: the calibration was measured without, or a timestep bin has none.
    """
    rows = [(each.timestep, each.pairs) for each in calibration.records if each.pairs]
    if not rows:
        raise LokrWeightingError(
            f"{calibration.folder or 'the calibration'}: was measured without similarity; run the "
            "same calibrate or generate again with --similarity: it measures what is missing"
        )
    records = Records(
        np.array([timestep for timestep, _ in rows]),
        np.stack([pairs.image for _, pairs in rows]),
        np.stack([pairs.text for _, pairs in rows]),
    )
    bins = calibration.settings["bins"]
    blocks = calibration.blocks
    means = heatmaps_of(records, bins)
    drawn = resampled(records, bins, resamples, seed)
    image, text = _matrix(means.image.mean(axis=0)), _matrix(means.text.mean(axis=0))
    groupings = []
    for stream, matrix in (("image", image), ("text", text)):
        draws = _matrix(np.stack([getattr(each, stream).mean(axis=0) for each in drawn]))
        for path, places in places_in_lists(blocks).items():
            known = [place for place in places if not np.isnan(matrix[place, place])]
            if known:
                square = np.ix_(known, known)
                groupings.append(divide(matrix[square], draws[:, *square], path, stream))
    errors = [
        None if error is None else _matrix(error, diagonal=0)
        for error in (means.image_error, means.text_error)
    ]
    return Similarity(
        model=calibration.settings.get("model"),
        blocks=blocks,
        samples=len(rows),
        image=image,
        text=text,
        image_error=errors[0],
        text_error=errors[1],
        groupings=tuple(groupings),
    )


def _matrix(pairs: np.ndarray, diagonal: float = 1) -> np.ndarray:
    """The symmetric matrix, (..., blocks, blocks), of a lower triangle, (..., pairs)."""
    blocks = blocks_of_pairs(pairs.shape[-1])
    matrix = np.full((*pairs.shape[:-1], blocks, blocks), float(diagonal))
    rows, columns = np.tril_indices(blocks, -1)
    matrix[..., rows, columns] = matrix[..., columns, rows] = pairs
    missing = np.isnan(matrix).sum(axis=-1) == blocks - 1  # no number but the diagonal's
    return np.where(missing[..., None] & (blocks > 1), np.nan, matrix)
