"""A calibration as it may be given away: numbers and how they were measured, nothing of the user's.

Captions and pictures are never in a calibration. What is taken out are the names of files and
folders: a local model's place, data sets' names, images that were left out and why.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.contents import (
    NOT_FINITE,
    RECORDS,
    SETTINGS,
    SIMILARITY,
    SUMMARY,
    read_summary,
)
from lokr_weighting.records.gains import GAINS
from lokr_weighting.records.reading import read_calibration
from lokr_weighting.records.store import LOCK

CARD, FIGURE = "README.md", "heatmaps.png"
SHARED = (SETTINGS, RECORDS, NOT_FINITE, SIMILARITY, SUMMARY, GAINS, CARD, FIGURE)
"""The files that are given away, as far as there are any."""
KEPT = (
    *("bins", "seed", "resolution", "buckets", "crops", "dtype", "precision", "padding"),
    *("images", "text_tokens", "forward"),
)
"""Settings that say how it was measured: numbers, and words of this package."""
FINGERPRINTS = ("weights", "pipeline", "data", "batches")
"""Settings that are kept where they are fingerprints: equal for equal content, and no more."""
FINGERPRINT = re.compile(r"[0-9a-f]{16}")
MODEL = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
"""A model's name or hub id."""


def shareable(folder: Path, model: str | None = None) -> Calibration:
    """A finished calibration without anything of the user's.

    Args:
        folder: the calibration's.
        model: the hub id or name to call the model by; None: its own, which must be one.

    Raises:
        LokrWeightingError: the folder holds no finished calibration, or its model is a local
            folder.
    """
    calibration = read_calibration(folder)
    name = model or calibration.model
    if name is None or not MODEL.fullmatch(name) or (model is None and Path(name).exists()):
        raise LokrWeightingError(
            f"{folder}: was measured on {name or 'a model that it does not name'}, which is no "
            "name that others know; give --model with its hub id"
        )
    settings = shared_settings(calibration.settings) | {"model": name}
    # without the folder, which is a place on this machine
    return replace(calibration, settings=settings, skipped={}, folder=None)


def shared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of a calibration's settings those that are given away, without the model's name."""
    kept = {key: settings[key] for key in KEPT if key in settings}
    prints = {key: settings[key] for key in FINGERPRINTS if key in settings}
    kept |= {key: each for key, each in prints.items() if FINGERPRINT.fullmatch(str(each))}
    if (quantization := settings.get("quantization")) is not None:
        plain = {str(key): each for key, each in dict(quantization).items()}
        kept["quantization"] = {
            key: each for key, each in plain.items() if "/" not in str(each) and len(str(each)) < 64
        }
    return kept


def write_shared(calibration: Calibration, source: Path, folder: Path) -> None:
    """Write what `shareable` gave, how settled it was as in its source.

    Args:
        calibration: what is given away.
        source: the folder that it was read from.
        folder: a new or empty folder.
    """
    summary = read_summary(source)
    calibration.save(
        folder,
        settled=summary.settled,
        same=summary.same,
        near=summary.near,
        processes=summary.processes,
    )
    (folder / LOCK).unlink(missing_ok=True)
