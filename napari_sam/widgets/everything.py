"""The widget that finds all objects: where, how large, and which of them are kept."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDoubleSpinBox, QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_sam.errors import InputError
from napari_sam.live.object_rows import ObjectRows
from napari_sam.live.search import Partial, Search, Wanted
from napari_sam.segment.everything import EverythingProgress, EverythingResult, Thresholds
from napari_sam.segment.everything.grid import sizes_in_pixels
from napari_sam.segment.everything.thresholds import default_thresholds, raw_thresholds
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Runs
from napari_sam.tiles.store import Failure

from .attached import attach
from .controls import Message, button, combo, in_a_row, labelled, separator
from .found_layer import FoundLayer
from .highlight import Highlight, with_room
from .jobs import Job, run_job
from .keep_box import KeepBox
from .object_table import ObjectTable, unit_symbol
from .search_regions import RegionChoice
from .threshold_sliders import ThresholdSliders

if TYPE_CHECKING:
    import napari

    from napari_sam.live.workplace import Workplace

__all__ = ["EverythingWidget"]

_RESTING = 80
"""Milliseconds that the sliders rest before objects are filtered."""

_LISTED = 20
"""Tiles that failed and are listed."""


@dataclass(frozen=True)
class _Filtered:
    """What a filter found, and for which thresholds."""

    thresholds: Thresholds
    shown: Partial


class EverythingWidget(QWidget):
    """Finds all objects of a region, lets a person choose among them, and keeps these.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose image.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__()
        self.attachment = attach(viewer)
        self._search: Search | None = None
        self._shown: Partial | None = None
        self._job: Job | None = None
        self._filtering: Job | None = None
        self._keeping: Job | None = None
        self._layer = FoundLayer(self.attachment.viewer)
        self._highlight = Highlight(self.attachment.viewer)
        self._make_controls()
        self._resting = QTimer(self)
        self._resting.setSingleShot(True)
        self._resting.setInterval(_RESTING)
        self._resting.timeout.connect(self._filter)
        self.sliders.changed.connect(self._resting.start)
        self.attachment.workplace_changed.connect(self._begin)
        self.attachment.session_changed.connect(self._hear)
        self._begin(self.attachment.workplace)

    @property
    def found(self) -> Partial | None:
        """The objects that are shown."""
        return self._shown

    # Controls

    def _make_controls(self) -> None:
        self.regions = RegionChoice(self.attachment)
        self.smallest, self.largest = _size_box("any"), _size_box("any")
        self.unit = combo((), "In which sizes are given: pixels of full resolution, or a length")
        self.unit.setMinimumContentsLength(3)
        self.start = button(
            "Find objects",
            "Click through the region tile by tile; what was done stays done",
            self.run,
        )
        self.stop = button(
            "Stop", "Stop after the tile that is being done; Find objects goes on there", self._stop
        )
        self.progress, self.status = QProgressBar(), Message()
        self.progress.setFormat("%v of %m tiles")
        self.failed = Message()
        self.retry = button(
            "Try failed tiles again",
            "Repeat only these tiles",
            lambda: self.run(retry_failed=True),
        )
        self.sliders = ThresholdSliders(self)
        self.defaults = button(
            "Defaults", "Put the sliders where objects are best", self._reset_thresholds
        )
        self.table = ObjectTable(self)
        self.table.chosen.connect(self.go_to)
        self.keeping = KeepBox()
        self.keeping.keep.clicked.connect(self.keep_shown)
        sizes = in_a_row(self.smallest, QLabel("to"), self.largest, self.unit)
        layout = QVBoxLayout(self)
        for part in (
            labelled(("Region", self.regions), ("Sizes", sizes)),
            in_a_row(self.start, self.stop),
            self.progress,
            self.status,
            self.failed,
            self.retry,
            separator(),
            self.sliders,
            self.defaults,
        ):
            layout.addWidget(part)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.keeping)

    def _begin(self, workplace: Workplace | None) -> None:
        """Forget what was found in another image, plane or by another model."""
        self._stop()
        if self._filtering is not None:
            self._filtering.stop()
        self._job = self._filtering = None
        self._search = self._shown = None
        self._layer.clear()
        self._highlight.clear()
        self.table.objects.set_rows(ObjectRows.none())
        self.progress.setMaximum(1)
        self.progress.setValue(0)
        self.status.setText("" if workplace else "Open an image in Segment or Embed first.")
        self._tell_failed(())
        if workplace is not None:
            self._search = Search(workplace.scene, workplace.store, workplace.sam)
            self._offer_units(workplace)
            raw = raw_thresholds(workplace.sam)
            self.sliders.set_limits(raw.predicted_iou, raw.stability)
            self.sliders.show_thresholds(default_thresholds(workplace.sam))
        self._enable()

    def _hear(self, event: Any) -> None:
        if event.kind == "plane":
            self._begin(self.attachment.workplace)

    def _offer_units(self, workplace: Workplace) -> None:
        size = workplace.scene.pixel_size
        units = ["px"] if size is None else ["px", unit_symbol(size.unit)]
        if [self.unit.itemText(index) for index in range(self.unit.count())] != units:
            self.unit.clear()
            self.unit.addItems(units)
            self.unit.setCurrentIndex(len(units) - 1)

    def _enable(self) -> None:
        busy, there = self._job is not None, self._shown is not None
        count = len(self._shown.found) if self._shown is not None else 0
        self.start.setEnabled(self._search is not None and not busy)
        self.stop.setEnabled(busy)
        self.retry.setEnabled(not busy)
        self.sliders.setEnabled(there and not busy)
        self.defaults.setEnabled(there and not busy)
        self.keeping.offer(count, not busy and self._keeping is None)

    # Finding

    def run(self, retry_failed: bool = False) -> Job | None:
        """Look for objects as the controls say; None if that cannot be begun."""
        workplace, search = self.attachment.workplace, self._search
        if workplace is None or search is None or self._job is not None:
            return None
        try:
            wanted = Wanted(self._sizes(), self._unit(workplace), self.regions.roi())
            pixels = sizes_in_pixels(wanted.sizes, wanted.unit, workplace.scene.pixel_size)
        except InputError as error:
            self.attachment.say(str(error), "warning")
            return None
        thresholds = replace(self.sliders.thresholds, smallest=pixels[0], largest=pixels[1])
        embedder = self.attachment.embedder

        def work(report: Any, should_stop: Any) -> tuple[EverythingResult, Partial]:
            with nullcontext() if embedder is None else embedder.aside():
                return search.run(wanted, thresholds, report, report, should_stop, retry_failed)

        self.sliders.show_thresholds(thresholds)
        self._job = job = run_job(self, work, "finding objects")
        job.progressed.connect(lambda told: self._hear_progress(job, told))
        job.finished.connect(lambda result: self._finish(job, *result))
        job.failed.connect(lambda sentence: self._fail(job, sentence))
        job.stopped.connect(lambda: self._fail(job, "Stopped."))
        self.progress.setMaximum(0)  # it moves until the first tile is done
        self.status.setText("Beginning ...")
        self._enable()
        return job

    def _sizes(self) -> tuple[float | None, float | None]:
        return self.smallest.value() or None, self.largest.value() or None

    def _unit(self, workplace: Workplace) -> str:
        size = workplace.scene.pixel_size
        return "px" if size is None or self.unit.currentText() == "px" else size.unit

    def _hear_progress(self, job: Job, told: EverythingProgress | Partial) -> None:
        if job is not self._job:
            return
        if isinstance(told, Partial):
            self._show(told)
            return
        self.progress.setMaximum(max(1, told.total))
        self.progress.setValue(told.settled)
        left = "" if told.seconds_left is None else f", {_duration(told.seconds_left)} left"
        failed = f", {told.failed} failed" if told.failed else ""
        self.status.setText(f"{told.candidates:,} masks until now{failed}{left}")

    def _finish(self, job: Job, result: EverythingResult, shown: Partial) -> None:
        if job is not self._job:
            return
        self._job = None
        if self.progress.maximum() == 0:  # all was done before
            self.progress.setMaximum(1)
            self.progress.setValue(1)
        count = f"{len(shown.found):,} object{'s'[: len(shown.found) != 1]}"
        if result.left:
            self.status.setText(
                f"Stopped with {count}; {result.left} tiles are left. Find objects goes on there."
            )
        else:
            self.status.setText(f"{count} found.")
        self._tell_failed(result.failed)
        self._offer_sizes(result)
        self._show(shown)
        self.table.fit_columns()
        self._enable()

    def _fail(self, job: Job, sentence: str) -> None:
        if job is not self._job:
            return
        self._job = None
        self.progress.setMaximum(1)
        self.progress.setValue(0)
        self.status.setText(sentence)
        self.attachment.say(sentence, "error")
        self._enable()

    def _stop(self) -> None:
        if self._job is not None:
            self._job.stop()
            self.status.setText("Stopping after this tile ...")

    def _tell_failed(self, failed: tuple[Failure, ...]) -> None:
        self.failed.setVisible(bool(failed))
        self.retry.setVisible(bool(failed))
        lines = [
            f"level {one.tile.level}, row {one.tile.row}, column {one.tile.col}: {one.reason}"
            for one in failed[:_LISTED]
        ]
        if len(failed) > _LISTED:
            lines.append(f"and {len(failed) - _LISTED} more")
        tiles = f"{len(failed)} tile{'s'[: len(failed) != 1]}"
        self.failed.setText(f"{tiles} failed, whose objects are missing:\n" + "\n".join(lines))

    # Choosing

    def _offer_sizes(self, result: EverythingResult) -> None:
        workplace = self.attachment.workplace
        assert workplace is not None
        areas = result.everything.candidates.areas
        scale, size = 1.0, workplace.scene.pixel_size
        if size is not None and self.unit.currentText() != "px":
            scale = float(np.sqrt(size.rows * size.cols))
        most = float(np.sqrt(areas.max())) if len(areas) else 1.0
        self.sliders.set_sizes(most, scale, self.unit.currentText())

    def _reset_thresholds(self) -> None:
        workplace = self.attachment.workplace
        if workplace is not None and self._search is not None and self._search.everything:
            sizes = self._search.everything.settings.sizes
            self.sliders.show_thresholds(default_thresholds(workplace.sam, sizes))
            self._filter()

    def _filter(self) -> None:
        """Show the objects for the thresholds of the sliders; the newest ones count."""
        search = self._search
        if search is None or search.everything is None or self._job or self._filtering:
            return
        thresholds = self.sliders.thresholds

        def work(report: Any, should_stop: Any) -> _Filtered:
            return _Filtered(thresholds, search.filter(thresholds))

        self._filtering = job = run_job(self, work, "filtering objects")
        job.finished.connect(lambda filtered: self._filter_done(job, filtered))
        job.failed.connect(lambda sentence: self._filter_failed(job, sentence))

    def _filter_done(self, job: Job, filtered: _Filtered) -> None:
        if job is not self._filtering:
            return
        self._filtering = None
        self._show(filtered.shown)
        self._enable()
        if filtered.thresholds != self.sliders.thresholds:
            self._filter()

    def _filter_failed(self, job: Job, sentence: str) -> None:
        if job is self._filtering:
            self._filtering = None
            self.attachment.say(sentence, "warning")

    def _show(self, shown: Partial) -> None:
        workplace, image = self.attachment.workplace, self.attachment.image_layer
        if workplace is None or image is None:
            return
        self._shown = shown
        self._highlight.clear()
        self._layer.show(image, shown)
        self.table.objects.set_rows(ObjectRows.of_found(shown.found), workplace.scene.pixel_size)

    def go_to(self, object_id: int) -> None:
        """Show one of the objects that were found, by its id."""
        workplace, image = self.attachment.workplace, self.attachment.image_layer
        if workplace is None or image is None or self._shown is None:
            return
        found, index = self._shown.found, object_id - 1
        region = found.region(index)
        runs = Runs.of(MaskRegion(region.row0, region.col0, found.mask(index)))
        self.attachment.show(
            with_room(ObjectRows.of_found(found).region(index), workplace.scene.shape)
        )
        self._highlight.show(image, runs.scaled(int(found.levels[index])))

    def keep_shown(self) -> None:
        """Make all that are listed objects of the session, in one step."""
        workplace, shown = self.attachment.workplace, self._shown
        if workplace is None or shown is None or self._keeping is not None:
            return
        name, overlap = self.keeping.class_name, self.keeping.overlap

        def work(report: Any, should_stop: Any) -> dict[int, int]:
            return workplace.session.add_objects(shown.found, name, overlap)

        self._keeping = job = run_job(self, work, "keeping objects")
        job.finished.connect(self._kept)
        job.failed.connect(self._not_kept)
        self._enable()

    def _kept(self, ids: dict[int, int]) -> None:
        self._keeping = self._shown = None
        self._layer.clear()
        self._highlight.clear()
        self.table.objects.set_rows(ObjectRows.none())
        sentence = f"{len(ids):,} objects are kept; undo takes all of them back."
        self.status.setText(sentence)
        self.attachment.say(sentence)
        self._enable()

    def _not_kept(self, sentence: str) -> None:
        self._keeping = None
        self.attachment.say(sentence, "error")
        self._enable()


def _size_box(nothing: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(0.0, 1e6)
    box.setDecimals(1)
    box.setSpecialValueText(nothing)
    box.setToolTip("Side of a square as large as the object; 0 for no limit")
    return box


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
