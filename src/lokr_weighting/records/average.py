"""Averages over equal timestep bins, their standard errors, and resamples of them."""

from collections.abc import Sequence

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.record import Records

RESAMPLES = 200
LISTED = 1000  # bins of which the empty ones are named
SHOWN = 3
MORE = "measure more samples or use fewer bins"


def bin_of(timesteps: np.ndarray, bins: int) -> np.ndarray:
    """The equal bin of [0, 1] that each timestep falls in; timestep 1 belongs to the last."""
    of_bin = np.minimum((timesteps * bins).astype(int), bins - 1)
    # t * bins can round across an edge (0.29 * 100 is 28.999...): compare with the edges themselves
    of_bin -= timesteps < of_bin / bins
    of_bin += (timesteps >= (of_bin + 1) / bins) & (of_bin < bins - 1)
    return of_bin


def binned_mean(
    values: np.ndarray, timesteps: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The mean of each bin, and the standard error of the mean over the bins.

    The error is that of a mean over strata: the root of the sum of every bin's variance over its
    count, divided by the number of bins.

    Args:
        values: (samples, columns).
        timesteps: (samples,), each in [0, 1].
        bins: equal bins of [0, 1].

    Returns:
        means, (bins, columns), and errors, (columns,); None where a bin has a single sample.

    Raises:
        LokrWeightingError: a bin has no sample.
    """
    if bins > max(len(timesteps), LISTED):
        raise LokrWeightingError(f"{len(timesteps)} records do not fill {bins} bins; {MORE}")
    of_bin = bin_of(timesteps, bins)
    counts = np.bincount(of_bin, minlength=bins)
    if not counts.all():
        empty = np.flatnonzero(counts == 0)
        shown = ", ".join(f"[{b / bins:g}, {(b + 1) / bins:g})" for b in empty[:SHOWN])
        more = f" and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
        raise LokrWeightingError(
            f"no record has a timestep in {shown}{more}: {len(of_bin)} records do not fill {bins} "
            f"bins; {MORE}"
        )
    rows = [values[of_bin == b] for b in range(bins)]
    means = np.stack([row.mean(axis=0) for row in rows])
    if counts.min() == 1:
        return means, None
    variances = [row.var(axis=0, ddof=1) / len(row) for row in rows]
    return means, np.sqrt(np.sum(variances, axis=0)) / bins


def heatmaps_of(records: Records, bins: int = 10) -> Heatmaps:
    """Average the records over `bins` equal timestep bins, with standard errors (`binned_mean`).

    Raises:
        LokrWeightingError: a bin holds no record.
    """
    image, image_error = binned_mean(records.image, records.timesteps, bins)
    text, text_error = binned_mean(records.text, records.timesteps, bins)
    return Heatmaps(
        image,
        text,
        samples=len(records.timesteps),
        image_error=image_error,
        text_error=text_error,
    )


def resampled(
    streams: Sequence[np.ndarray],
    timesteps: np.ndarray,
    bins: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> list[np.ndarray]:
    """Each bin's mean in resamples of the samples: n - 1 drawn with replacement from its n.

    With n - 1 the resamples' variance is the mean's own, however few samples a bin has (Rao and
    Wu, "Resampling Inference With Complex Survey Data", 1988).

    Args:
        streams: values of the same samples, (samples, columns) each; resampled together.
        timesteps: (samples,), each in [0, 1].
        bins: equal bins of [0, 1].
        resamples: how many resamples.
        seed: decides them.

    Returns:
        for each stream (resamples, bins, columns).
    """
    rng = np.random.default_rng([seed, len(timesteps)])
    of_bin = bin_of(timesteps, bins)
    means = [np.empty((resamples, bins, values.shape[1])) for values in streams]
    for b in range(bins):
        rows = np.flatnonzero(of_bin == b)
        drawn = max(len(rows) - 1, 1)
        weights = rng.multinomial(drawn, np.full(len(rows), 1 / len(rows)), resamples) / drawn
        for mean, values in zip(means, streams, strict=True):
            mean[:, b] = weights @ values[rows]
    return means
