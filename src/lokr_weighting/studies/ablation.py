"""What it costs to run the blocks otherwise: the training loss on the user's own data.

Every strategy sees the same samples with the same noise, so a change is a mean of paired
differences, with its standard error within timestep bins.
"""

from dataclasses import dataclass

import numpy as np

from lokr_weighting.studies.strategies import Strategy

BINS = 10


@dataclass(frozen=True)
class Change:
    """What one strategy does to the loss.

    Attributes:
        strategy: the strategy.
        change: the mean change of the loss.
        error: its standard error.
        by_bin: the mean change in each timestep bin, (bins,).
        bin_error: their standard errors, (bins,).
        by_sample: the change of each sample's loss, (samples,); None in files of earlier versions.
    """

    strategy: Strategy
    change: float
    error: float
    by_bin: np.ndarray
    bin_error: np.ndarray
    by_sample: np.ndarray | None = None


@dataclass(frozen=True)
class Refused:
    """A strategy that the model cannot run.

    Attributes:
        strategy: the strategy.
        reason: why.
    """

    strategy: Strategy
    reason: str


@dataclass(frozen=True)
class Span:
    """Neighbouring blocks of one list that strategies are tried on.

    Attributes:
        path: the list's name.
        stream: whose group it is, "image" or "text".
        name: the group's name, e.g. "first"; "middle half" where the list is not divided.
        first: its first block's number in the list.
        last: its last block's.
    """

    path: str
    stream: str
    name: str
    first: int
    last: int


@dataclass(frozen=True)
class Obeyed:
    """How many images show their caption.

    Attributes:
        right: so many.
        drawn: of so many.
    """

    right: int
    drawn: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        z, n = 1.96, self.drawn
        share = self.right / n
        middle = share + z**2 / (2 * n)
        half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        low, high = ((middle + side * half) / (1 + z**2 / n) for side in (-1, 1))
        return float(low), float(high)


@dataclass(frozen=True)
class Captions:
    """Whether images show the captions that they were drawn from.

    Attributes:
        accuracy: the share of the folder's own images that are read right, each held out.
        plain: what the model as it is draws.
        by_strategy: what it draws under strategies.
    """

    accuracy: float
    plain: Obeyed
    by_strategy: tuple[tuple[Strategy, Obeyed], ...]


@dataclass(frozen=True)
class Seen:
    """The samples, and what the model as it is does with them.

    Attributes:
        timesteps: each sample's, (samples,), in [0, 1]; 1 is noise.
        losses: each sample's loss, (samples,).
        image: the mean distance in the image stream by timestep bin, (bins, blocks).
        text: the same in the text stream.
    """

    timesteps: np.ndarray
    losses: np.ndarray
    image: np.ndarray
    text: np.ndarray


@dataclass(frozen=True)
class Ablation:
    """The loss as the model is, and what each strategy does to it.

    Attributes:
        model: the model's name.
        samples: how many samples every strategy saw.
        blocks: the model's blocks.
        loss: the mean loss as it is.
        changes: one for each strategy.
        image: each block's mean distance in the image stream, (blocks,), NaN where a block has text
            alone.
        text: the same in the text stream, NaN where a block hands no text on.
        refused: the strategies that could not be run.
        spans: the groups that strategies were tried on; none: each list's middle half.
        samples_seen: what is known of each sample; None in files of earlier versions.
        captions: whether captions are obeyed, where images were drawn and can be read.
    """

    model: str
    samples: int
    blocks: tuple[str, ...]
    loss: float
    changes: tuple[Change, ...]
    image: np.ndarray
    text: np.ndarray
    refused: tuple[Refused, ...] = ()
    spans: tuple[Span, ...] = ()
    samples_seen: Seen | None = None
    captions: Captions | None = None

    def of(self, strategy: Strategy) -> Change | None:
        """What a strategy did; None where it was not tried or could not be run."""
        return next((each for each in self.changes if each.strategy == strategy), None)

    @property
    def damage(self) -> dict[str, Change]:
        """What skipping a block alone does, by the block's name."""
        return {
            f"{each.strategy.path}.{each.strategy.first}": each
            for each in self.changes
            if each.strategy.kind == "skip" and each.strategy.first == each.strategy.last
        }
