"""A few tokens behind each block, kept for one forward and compared between blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lokr_weighting.data.samples import token_rng
from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.measure.angles import unit_rows

COMPARED = 32  # tokens of each stream: 45 MB in both streams of the 57 blocks of Flux.1


@dataclass
class ComparedTokens:
    """One stream's compared tokens behind each block, until the forward has ended.

    Which tokens are compared is drawn anew for every sample, so that the mean over samples is that
    over all real tokens.
    """

    _shape: torch.Size | None = None
    _chosen: tuple[Tensor, Tensor] | None = None
    _kept: dict[str, Tensor] = field(default_factory=dict)

    def keep(
        self, block: str, tokens: Tensor, real: Tensor | None, samples: Sequence[int] | None
    ) -> None:
        """Keep what is needed of a block's output.

        Args:
            block: the block's name.
            tokens: the stream behind it, (batch, tokens, width).
            real: which tokens count, (batch, tokens) of bool; None: all.
            samples: the batch's samples by number; they decide which tokens are drawn.

        Raises:
            LokrWeightingError: the tokens are others than those behind the blocks before.
        """
        if self._shape not in (None, tokens.shape):
            raise LokrWeightingError(
                f"{block} hands on {tuple(tokens.shape)} (batch, tokens, width), the block before "
                f"{tuple(self._shape)}: these cannot be compared; measure without similarity"
            )
        if self._chosen is None:
            self._shape = tokens.shape
            self._chosen = _choose(tokens, real, samples or range(len(tokens)))
        places, weights = (each.to(tokens.device) for each in self._chosen)
        directions = unit_rows(tokens.detach().take_along_dim(places[..., None], dim=-2))
        self._kept[block] = directions.mul_(weights.sqrt()[..., None]).flatten(1)

    def take(self, blocks: Sequence[str], batch: int) -> np.ndarray:
        """Every pair's similarity, (batch, pairs) as in `Pairs`; waits for the device once."""
        matrices = np.full((batch, len(blocks), len(blocks)), np.nan, dtype=np.float32)
        known = [place for place, name in enumerate(blocks) if name in self._kept]
        if known:
            kept = [self._kept[blocks[place]] for place in known]
            stacked = torch.stack([each.to(kept[0].device) for each in kept], dim=1)
            cosines = (stacked @ stacked.mT).clamp(-1, 1)
            matrices[:, np.array(known)[:, None], known] = cosines.cpu().numpy()
        rows, columns = np.tril_indices(len(blocks), -1)
        return matrices[:, rows, columns]


def _choose(tokens: Tensor, real: Tensor | None, samples: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The compared tokens' places and weights, (batch, compared); weights sum to 1."""
    count = tokens.shape[-2]
    drawn = [token_rng(number).random(count) for number in samples]
    keys = torch.tensor(np.stack(drawn), dtype=torch.float32).to(tokens.device)
    if real is not None:
        keys = keys.where(real.to(keys.device), torch.inf)
    lowest, places = keys.topk(min(COMPARED, count), largest=False)
    counted = lowest.isfinite()
    return places, counted / counted.sum(dim=-1, keepdim=True)
