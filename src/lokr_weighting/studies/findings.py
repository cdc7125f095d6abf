"""What heatmaps say, by stated rules: the SD3.5-Large study's observations, on any measurement.

No rule knows a model: each is of distances alone, and is corrected for looking at all blocks of
both streams.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control

from lokr_weighting.plan.averaged import averaged
from lokr_weighting.plan.recipe import Recipe, critical_blocks
from lokr_weighting.records.average import resampled
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.record import Records
from lokr_weighting.studies import islands
from lokr_weighting.studies.trends import (
    LEAST_ENDS,
    LEAST_RISE,
    Points,
    curvature_p,
    ends,
    rises,
    steadiness,
)

Kind = Literal["critical", "idle", "island", "gradient", "both ends", "joint"]
Stream = Literal["image", "text"]
LEVEL = 0.05  # of anything of a kind being found where there is nothing
IDLE = 0.5  # of the median block's distance, as the mean of both streams
LEAST_ISLAND = 1.25  # of its mean over that of all other blocks
STREAMS: tuple[Stream, ...] = ("image", "text")


@dataclass(frozen=True)
class Finding:
    """One thing that heatmaps say.

    Attributes:
        kind: what.
        stream: of which stream; None: of both.
        blocks: the blocks' places: one, or an island's.
        size: how much: of an island, its mean over the others'; of a gradient, the rise towards
            noise, and of both ends the height of the lower, in shares of the block's mean; of an
            idle block, its distance in shares of the median block's; of a critical one, the share
            of timestep bins above the recipe's percentile.
        p: how often as much is found where there is nothing, corrected for all blocks of both
            streams; None where chance is not in the rule.
        kept: the share of resamples that say so too; None where samples are not known.
    """

    kind: Kind
    stream: Stream | None
    blocks: tuple[int, ...]
    size: float
    p: float | None = None
    kept: float | None = None


@dataclass(frozen=True)
class _Measured:
    """What the rules go by.

    Attributes:
        whole: the heatmaps.
        points: each stream's distances beside their timesteps.
        redone: each stream's heatmap in resamples, (resamples, bins, blocks); None where samples
            are not known.
    """

    whole: Heatmaps
    points: dict[Stream, Points]
    redone: dict[Stream, np.ndarray] | None

    def known(self, stream: Stream) -> np.ndarray:
        """The places of the blocks that have the stream."""
        return np.flatnonzero(~np.isnan(self.heatmap(stream)).any(axis=0))

    def heatmap(self, stream: Stream) -> np.ndarray:
        """A stream's heatmap, (bins, blocks)."""
        return self.whole.image if stream == "image" else self.whole.text

    def kept(self, said: Callable[[dict[Stream, np.ndarray]], np.ndarray]) -> np.ndarray | None:
        """The share of resamples in which a rule says so of each block, (blocks,)."""
        if self.redone is None:
            return None
        pairs = zip(self.redone["image"], self.redone["text"], strict=True)
        return np.mean([said({"image": image, "text": text}) for image, text in pairs], axis=0)


def findings_of(
    measured: Calibration | Records | Heatmaps, recipe: Recipe | None = None
) -> list[Finding]:
    """Everything that the rules find, kind by kind.

    Args:
        measured: with samples, p and `kept` come from them; of heatmaps alone p is that of their
            bins' means.
        recipe: whose bins, tokens and rule for critical blocks count.

    Raises:
        LokrWeightingError: a timestep bin is empty, or such tokens were not recorded.
    """
    ground = _ground(measured, recipe := recipe or Recipe())
    gradients = list(_gradients(ground))
    return [
        *_critical(ground, recipe),
        *_idle(ground),
        *_islands(ground),
        *gradients,
        *_both_ends(ground),
        *_joint(gradients),
    ]


def _ground(measured: Calibration | Records | Heatmaps, recipe: Recipe) -> _Measured:
    heatmaps, records = averaged(measured, recipe)
    if records is None:
        middles = (np.arange(heatmaps.bins) + 0.5) / heatmaps.bins
        return _Measured(heatmaps, _points(middles, heatmaps.image, heatmaps.text), None)
    times = records.timesteps
    image, text = resampled((records.image, records.text), times, recipe.bins)
    return _Measured(
        heatmaps,
        _points(times, records.image, records.text),
        {"image": image, "text": text},
    )


def _points(times: np.ndarray, image: np.ndarray, text: np.ndarray) -> dict[Stream, Points]:
    return {"image": Points(times, image), "text": Points(times, text)}


def _critical(ground: _Measured, recipe: Recipe) -> Iterator[Finding]:
    """The recipe's critical blocks."""
    found = critical_blocks(ground.whole, recipe)
    for stream in STREAMS:
        heatmap = ground.heatmap(stream)
        if np.isnan(heatmap).all():
            continue
        above = (heatmap > np.nanpercentile(heatmap, recipe.critical_percentile)).mean(axis=0)

        def said(redone: dict[Stream, np.ndarray], stream: Stream = stream) -> np.ndarray:
            again = critical_blocks(Heatmaps(redone["image"], redone["text"]), recipe)
            return np.array(
                [stream in again.get(block, ()) for block in range(ground.whole.block_count)]
            )

        kept = ground.kept(said)
        for block, reasons in found.items():
            if stream in reasons:
                share = None if kept is None else float(kept[block])
                yield Finding("critical", stream, (block,), float(above[block]), kept=share)


def _idle(ground: _Measured) -> Iterator[Finding]:
    """Blocks whose distance, over the streams they have, is under half of the median block's."""

    def idleness(heatmaps: dict[Stream, np.ndarray]) -> np.ndarray:
        shares = [
            heatmap.mean(axis=0) / np.nanmedian(heatmap.mean(axis=0))
            for heatmap in heatmaps.values()
            if not np.isnan(heatmap).all()
        ]
        return np.nanmean(shares, axis=0)

    sizes = idleness({stream: ground.heatmap(stream) for stream in STREAMS})
    kept = ground.kept(lambda redone: idleness(redone) < IDLE)
    has = {stream: set(ground.known(stream).tolist()) for stream in STREAMS}
    for block in np.flatnonzero(sizes < IDLE):
        share = None if kept is None else float(kept[block])
        own: list[Stream] = [stream for stream in STREAMS if int(block) in has[stream]]
        whose = own[0] if len(own) == 1 else None
        yield Finding("idle", whose, (int(block),), float(sizes[block]), kept=share)


def _islands(ground: _Measured) -> Iterator[Finding]:
    """Runs of neighbouring blocks in which a stream works more than in its other blocks."""
    values: dict[Stream, np.ndarray] = {
        stream: islands.levels(ground.heatmap(stream)[:, known])
        for stream in STREAMS
        if (known := ground.known(stream)).size
    }
    found: dict[Stream, list[islands.Island]] = {
        stream: islands.islands_in(each, LEVEL) for stream, each in values.items()
    }
    # a stream without an island was looked at too
    p: dict[Stream, np.ndarray] = {
        stream: np.array([x.p for x in each] or [1.0]) for stream, each in found.items()
    }
    adjusted = _adjusted(p)
    for stream, each in found.items():
        known = ground.known(stream)
        for island, own in zip(each, adjusted[stream], strict=False):
            inside = np.zeros(len(known), dtype=bool)
            inside[island.first : island.last + 1] = True
            size = float(values[stream][inside].mean() / values[stream][~inside].mean())
            if own > LEVEL or size < LEAST_ISLAND:
                continue
            kept = None
            if ground.redone is not None:
                again = [islands.levels(redone[:, known]) for redone in ground.redone[stream]]
                kept = island.kept(np.stack(again))
            blocks = tuple(int(block) for block in known[inside])
            yield Finding("island", stream, blocks, size, float(own), kept)


def _gradients(ground: _Measured) -> Iterator[Finding]:
    """Blocks whose distance rises or falls steadily with the timestep, by LEAST_RISE or more."""
    steady: dict[Stream, tuple[np.ndarray, np.ndarray]] = {
        stream: steadiness(_of_known(ground, stream))
        for stream in STREAMS
        if ground.known(stream).size
    }
    chances: dict[Stream, np.ndarray] = {stream: p for stream, (_, p) in steady.items()}
    adjusted = _adjusted(chances)
    for stream, (correlation, _) in steady.items():
        known = ground.known(stream)
        sizes = rises(ground.heatmap(stream)[:, known])
        same = np.sign(sizes) == np.sign(correlation)
        yield from _of_blocks(
            ground, "gradient", stream, sizes, adjusted[stream], same, rises, LEAST_RISE
        )


def _both_ends(ground: _Measured) -> Iterator[Finding]:
    """Blocks that are high at the noisiest and the cleanest timesteps and lower between."""
    chances: dict[Stream, np.ndarray] = {
        stream: curvature_p(_of_known(ground, stream))
        for stream in STREAMS
        if ground.known(stream).size
    }
    for stream, p in _adjusted(chances).items():
        sizes = ends(ground.heatmap(stream)[:, ground.known(stream)])
        yield from _of_blocks(ground, "both ends", stream, sizes, p, sizes > 0, ends, LEAST_ENDS)


def _joint(gradients: list[Finding]) -> Iterator[Finding]:
    """Blocks in which both streams show a gradient of one direction."""
    text = {finding.blocks: finding for finding in gradients if finding.stream == "text"}
    for image in gradients:
        other = text.get(image.blocks) if image.stream == "image" else None
        if other is None or np.sign(other.size) != np.sign(image.size):
            continue
        kept = None if image.kept is None or other.kept is None else min(image.kept, other.kept)
        p = max(image.p or 0.0, other.p or 0.0)
        smaller = min(image.size, other.size, key=abs)
        yield Finding("joint", None, image.blocks, smaller, p, kept)


def _of_known(ground: _Measured, stream: Stream) -> Points:
    points = ground.points[stream]
    return Points(points.timesteps, points.distances[:, ground.known(stream)])


def _adjusted(p: dict[Stream, np.ndarray]) -> dict[Stream, np.ndarray]:
    """The p of all blocks of both streams together, corrected (Benjamini and Hochberg, 1995)."""
    if not p:
        return {}
    whole = false_discovery_control(np.concatenate(list(p.values())))
    cuts = np.cumsum([len(each) for each in p.values()])[:-1]
    return dict(zip(p, np.split(whole, cuts), strict=True))


def _of_blocks(
    ground: _Measured,
    kind: Kind,
    stream: Stream,
    sizes: np.ndarray,
    p: np.ndarray,
    holds: np.ndarray,
    measure: Callable[[np.ndarray], np.ndarray],
    least: float,
) -> Iterator[Finding]:
    """The blocks with the stream that are sure and large enough."""
    known = ground.known(stream)
    kept = ground.kept(lambda redone: measure(redone[stream][:, known]) * np.sign(sizes) >= least)
    for place in np.flatnonzero((p <= LEVEL) & (np.abs(sizes) >= least) & holds):
        share = None if kept is None else float(kept[place])
        block = (int(known[place]),)
        yield Finding(kind, stream, block, float(sizes[place]), float(p[place]), share)
