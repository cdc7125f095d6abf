"""A calibration: what was measured of one model on one set of images, and how well."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import nulls
from lokr_weighting.notebooks import ShownInNotebooks
from lokr_weighting.records.average import heatmaps_of
from lokr_weighting.records.gains import GAINS, Gains, write_gains
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.record import NotFinite, Record, Records, Tokens, stack_records
from lokr_weighting.records.store import CalibrationStore
from lokr_weighting.records.summary import Settings, Summary


@dataclass(frozen=True)
class Calibration(ShownInNotebooks):
    """Everything measured so far, in the order of the samples.

    Attributes:
        settings: what it is of.
        blocks: the model's blocks, in the order of the records' columns.
        records: the samples.
        not_finite: samples left out because a block gave NaN or Inf.
        folder: where it is kept, if it is.
        skipped: images left out -> why.
        versions: the packages that it was measured with -> their versions.
        gains: what gradients say, where they were measured.
    """

    settings: Settings
    blocks: tuple[str, ...]
    records: tuple[Record, ...]
    not_finite: tuple[NotFinite, ...] = ()
    folder: Path | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    gains: Gains | None = None

    def __repr__(self) -> str:
        return (
            f"Calibration(model={self.model!r}, {len(self.records)} samples, "
            f"{len(self.blocks)} blocks, not_finite={len(self.not_finite)}, "
            f"folder={None if self.folder is None else str(self.folder)!r})"
        )

    def stacked(self, tokens: Tokens = "mean", first: int | None = None) -> Records:
        """The samples as arrays: all, or the `first` so many."""
        return stack_records(list(self.records[:first]), tokens)

    def heatmaps(self, bins: int = 10, tokens: Tokens = "mean") -> Heatmaps:
        """The two heatmaps, with standard errors.

        Raises:
            LokrWeightingError: a bin is empty.
        """
        averaged = heatmaps_of(self.stacked(tokens), bins)
        return Heatmaps(
            averaged.image,
            averaged.text,
            model=self.model,
            samples=averaged.samples,
            description=f"calibration on {self.settings.get('data', 'own batches')}",
            blocks=self.blocks,
            image_error=averaged.image_error,
            text_error=averaged.text_error,
        )

    @property
    def model(self) -> str | None:
        """The model that was measured, where known."""
        return self.settings.get("model")

    @property
    def has_similarity(self) -> bool:
        """Whether the similarity of every pair of blocks was gathered."""
        return any(record.pairs is not None for record in self.records)

    @property
    def not_finite_by_block(self) -> dict[str, int]:
        """How many samples each block made NaN or Inf first."""
        return dict(Counter(each.block for each in self.not_finite))

    def save(
        self,
        folder: Path | str,
        *,
        settled: bool = False,
        same: float | None = None,
        near: float | None = None,
        processes: int = 1,
    ) -> Path:
        """Write it to a folder of its own, as `calibrate_folder` keeps it.

        `read_calibration` gives it back; `plan`, `report`, `diff` and every other command read it,
        and `calibrate(..., cache=folder)` goes on from it.

        Args:
            folder: a new or empty folder, or one that holds this calibration's beginning.
            settled: as for `summary`; so are `same`, `near`, `processes`.
            same: where it was judged.
            near: where it was judged.
            processes: how many measured.

        Returns:
            the folder.

        Raises:
            LokrWeightingError: the folder holds something else, or a timestep bin has no sample.
            OutputError: it cannot be written.
        """
        folder = Path(folder)
        measured = sorted(
            [*self.records, *self.not_finite],
            key=lambda each: -1 if each.sample is None else each.sample,
        )
        if not measured:
            raise LokrWeightingError(f"{folder}: this calibration has no samples to write")
        store = CalibrationStore(folder, self.settings)
        try:
            store.read()
            store.append(measured)
            store.finish(
                self.summary(
                    self.heatmaps(self.settings.get("bins", 10)),
                    same=same,
                    near=near,
                    settled=settled,
                    processes=processes,
                )
            )
        finally:
            store.close()
        if self.gains is not None:
            write_gains(folder / GAINS, self.gains, self.settings)
        return folder

    def summary(
        self,
        heatmaps: Heatmaps,
        *,
        same: float | None = None,
        near: float | None = None,
        settled: bool = False,
        processes: int = 1,
    ) -> Summary:
        """What `calibration.json` says of it.

        Args:
            heatmaps: its means and errors.
            same: the share of resamples that give the very plan, where it was judged.
            near: the share within one split of it.
            settled: whether that is enough.
            processes: how many measured.
        """
        image_error, text_error = heatmaps.image_error, heatmaps.text_error
        return Summary(
            settings=dict(self.settings),
            blocks=self.blocks,
            samples=len(self.records),
            not_finite=self.not_finite_by_block,
            settled=settled,
            same=same,
            near=near,
            image=nulls(heatmaps.image.mean(axis=0)),
            image_error=None if image_error is None else nulls(image_error),
            text=nulls(heatmaps.text.mean(axis=0)),
            text_error=None if text_error is None else nulls(text_error),
            skipped=dict(self.skipped),
            processes=processes,
            versions=dict(self.versions),
        )


def write_calibration(folder: Path | str, calibration: Calibration) -> Path:
    """The same as `calibration.save(folder)`."""
    return calibration.save(folder)
