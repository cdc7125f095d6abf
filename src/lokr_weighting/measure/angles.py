"""The angular distance of two hidden states (Gromov et al., arXiv 2403.17887)."""

import math

import torch
from torch import Tensor

CPU_CHUNK_NUMBERS = 2**18  # two float32 copies of this many numbers, 2 MB, stay in the cache
CHUNKS = 4  # elsewhere: two float32 copies of a quarter of bf16 tokens are one bf16 activation


def angular_distance(u: Tensor, v: Tensor) -> Tensor:
    """Token by token, the angle between two vectors divided by pi.

    Computed in float32 as 2 * atan2(|u - v|, |u + v|) / pi of the normalised vectors, which stays
    exact for small angles where arccos of a cosine does not (Kahan, "How Futile are Mindless
    Assessments of Roundoff", 2006). Tokens are taken in chunks, so that the float32 copies need
    2 MB on a CPU and elsewhere no more than one activation in bf16.

    Args:
        u: (..., tokens, width), any floating dtype.
        v: the same shape.

    Returns:
        (..., tokens) float32, each in [0, 1]; 0.5 where one of the two is all zeros, 0 where both
        are; NaN where either is not finite.

    Raises:
        ValueError: the shapes differ.
    """
    if u.shape != v.shape:
        raise ValueError(f"shapes differ: {tuple(u.shape)} and {tuple(v.shape)}")
    width = u.shape[-1]
    rows_u, rows_v = u.reshape(-1, width), v.reshape(-1, width)
    on_cpu = u.device.type == "cpu"
    rows = CPU_CHUNK_NUMBERS // width if on_cpu else math.ceil(len(rows_u) / CHUNKS)
    rows = max(1, rows)
    chunks = zip(rows_u.split(rows), rows_v.split(rows), strict=True)
    angles = torch.cat([_angles(a, b) for a, b in chunks])
    return (angles * (2 / math.pi)).reshape(u.shape[:-1])


def _angles(u: Tensor, v: Tensor) -> Tensor:
    """Half the angle for each row, in radians."""
    unit_u, unit_v = unit_rows(u), unit_rows(v)
    apart = torch.linalg.vector_norm(unit_u.sub_(unit_v), dim=-1)
    # u - v + 2 v = u + v, without a third copy
    together = torch.linalg.vector_norm(unit_u.add_(unit_v, alpha=2), dim=-1)
    return torch.atan2(apart, together)


def unit_rows(rows: Tensor) -> Tensor:
    """The rows, (..., width), at length 1 in float32, a copy; zeros stay zeros."""
    rows = rows.to(torch.float32, copy=True)
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows.div_(length.clamp_min_(torch.finfo(torch.float32).tiny))
