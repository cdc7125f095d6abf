"""Records, what is averaged from them, and the calibrations that keep them."""

from lokr_weighting.records.average import bin_of, binned_mean, heatmaps_of
from lokr_weighting.records.heatmaps import Heatmaps, read_heatmaps, write_heatmaps
from lokr_weighting.records.record import (
    Measured,
    NotFinite,
    Record,
    Records,
    Tokens,
    parse_record,
    read_records,
    stack_records,
)
from lokr_weighting.records.references import load_reference, references

__all__ = [
    "Heatmaps",
    "Measured",
    "NotFinite",
    "Record",
    "Records",
    "Tokens",
    "bin_of",
    "binned_mean",
    "heatmaps_of",
    "load_reference",
    "parse_record",
    "read_heatmaps",
    "read_records",
    "references",
    "stack_records",
    "write_heatmaps",
]
