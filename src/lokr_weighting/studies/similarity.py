"""How similar the blocks' hidden states are: every pair of blocks, averaged over the samples.

As in "Transformer Layers as Painters" (Sun et al., arXiv 2407.09298), the hidden states behind two
blocks are compared token by token by their cosine; here for the image and the text stream apart.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import nulls
from lokr_weighting.models.blocks import places_in_lists
from lokr_weighting.records.average import RESAMPLES, binned_mean, resampled
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.pairs import blocks_of_pairs
from lokr_weighting.studies.groups import Grouping, divide


@dataclass(frozen=True)
class Similarity:
    """The mean similarity of every pair of blocks, and the groups found in it.

    Attributes:
        model: the model that was measured, where known.
        blocks: the blocks' names.
        samples: how many samples were averaged, each timestep bin counting alike.
        image: cosine similarity in the image stream, (blocks, blocks), each in [-1, 1]; NaN where a
            block has no image.
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
        """Everything as JSON values; null where a block does not have the stream."""
        data: dict[str, Any] = {"schema_version": 1, **asdict(self)}
        for key in ("image", "text", "image_error", "text_error"):
            matrix = data[key]
            data[key] = None if matrix is None else [nulls(row) for row in matrix]
        for grouping in data["groupings"]:
            for group in grouping["groups"]:
                (group["similarity"],) = nulls([group["similarity"]])
        return data


def similarity_of(
    calibration: Calibration, *, resamples: int = RESAMPLES, seed: int = 0
) -> Similarity:
    """Average a calibration's similarity and find the groups.

    Args:
        calibration: measured with similarity; samples that lack it are left out.
        resamples: how many resamples the groups' uncertainty is from.
        seed: decides them.

    Raises:
        LokrWeightingError: the calibration was measured without, a timestep bin has none, or no two
            blocks have a stream in common.
    """
    rows = [(each.timestep, each.pairs) for each in calibration.records if each.pairs]
    if not rows:
        raise LokrWeightingError(
            f"{calibration.folder or 'the calibration'}: was measured without similarity; run the "
            "same calibrate or generate again with --similarity: it measures what is missing"
        )
    timesteps = np.array([timestep for timestep, _ in rows])
    streams = {
        "image": np.stack([pairs.image for _, pairs in rows]),
        "text": np.stack([pairs.text for _, pairs in rows]),
    }
    bins = calibration.settings.get("bins")
    if bins is None:
        raise LokrWeightingError(
            f"{calibration.folder or 'the calibration'}: its settings do not say its bins"
        )
    drawn = resampled(list(streams.values()), timesteps, bins, resamples=resamples, seed=seed)
    matrices: dict[str, np.ndarray] = {}
    errors: dict[str, np.ndarray | None] = {}
    groupings = []
    for (stream, pairs), redrawn in zip(streams.items(), drawn, strict=True):
        means, error = binned_mean(pairs, timesteps, bins)
        matrix = matrices[stream] = _matrix(means.mean(axis=0))
        errors[stream] = None if error is None else _matrix(error, diagonal=0)
        draws = _matrix(redrawn.mean(axis=1))
        for path, places in places_in_lists(calibration.blocks).items():
            known = [place for place in places if not np.isnan(matrix[place, place])]
            if known:
                square = np.ix_(known, known)
                groupings.append(divide(matrix[square], draws[:, *square], path, stream))
    if not groupings:
        raise LokrWeightingError(
            f"{calibration.folder or 'the calibration'}: no two blocks have a stream in common, so "
            "there is nothing to compare"
        )
    return Similarity(
        model=calibration.model,
        blocks=calibration.blocks,
        samples=len(rows),
        image=matrices["image"],
        text=matrices["text"],
        image_error=errors["image"],
        text_error=errors["text"],
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
