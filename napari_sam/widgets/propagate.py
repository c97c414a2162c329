"""Plugins > Propagate: an object that is kept in one plane is followed through the others."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QLabel, QProgressBar, QSpinBox, QWidget

from napari_sam.errors import InputError
from napari_sam.live.propagating import (
    Outcome,
    Progress,
    Reach,
    axes_there,
    propagate_object,
    recompute,
)
from napari_sam.live.track_cells import Cell, track_cells, track_of
from napari_sam.session import SessionEvent

from .attached import attach
from .confidence_strip import ConfidenceStrip, summary
from .controls import Message, button, combo, in_a_row, labelled, scrolling, separator
from .going import show_plane
from .jobs import Job, run_job

if TYPE_CHECKING:
    import napari

    from napari_sam.live.workplace import Workplace

__all__ = ["PropagateWidget"]

_AXES = {"z": "depth", "t": "time"}

_DIRECTIONS = (
    ("both ways", "both"),
    ("forward", "forward"),
    ("backward", "backward"),
)

_MADE = ("accept", "add_object", "paint", "erase", "replace", "merge", "correct")
"""Steps after which the object that they made or changed is the one that is meant."""

_LEGEND = (
    "Higher and brighter: surer. Dot: fixed by you. Hatched: between its neighbours. Cross: it "
    "ends there. Click a cell to go there."
)


class PropagateWidget(QWidget):
    """Follows an object through depth or time, shows how sure that is, and repeats it in part.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose objects.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__()
        self.attachment = attach(viewer)
        self.track: int | None = None
        self._before: int | None = None
        self._lost: dict[tuple[int, int], str] = {}
        self._ids: set[int] = set()
        self._workplace: Workplace | None = None
        self._job: Job | None = None
        self._make()
        self.attachment.workplace_changed.connect(self._begin)
        self.attachment.session_changed.connect(self._hear)
        self.attachment.busy_changed.connect(self._show)
        self.attachment.intent.changed.connect(self._picked)
        self._begin(self.attachment.workplace)
        self._picked()

    def _make(self) -> None:
        """Make the controls, in the order in which Tab goes through them."""
        self.about = Message()
        self.axis = combo((), "Through which axis of the image")
        self.axis.currentIndexChanged.connect(self._show)
        self.direction = combo(_DIRECTIONS, "To higher plane numbers, to lower ones, or both")
        self.planes = QSpinBox()
        self.planes.setRange(0, 100_000)
        self.planes.setSpecialValueText("until it is lost")
        self.planes.setToolTip("Planes each way; 0 goes on until the object is lost")
        self.start = button(
            "Follow", "Find the object in the other planes; what is found is one step", self.follow
        )
        self.stop = button("Stop", "Stop after this plane, and keep what was found", self._stop)
        self.progress, self.status = QProgressBar(), Message()
        self.progress.setToolTip("Between two fixed planes it is followed from both")
        self.strip = ConfidenceStrip()
        self.strip.chosen.connect(lambda plane: show_plane(self.attachment, plane))
        self.said, self.legend = Message(), QLabel(_LEGEND)
        self.legend.setWordWrap(True)
        self.again = button(
            "Again between my corrections",
            "Follow it again from the fixed plane before the one that is shown to the one after "
            "it; all others stay as they are",
            self.follow_again,
        )
        self.join = button(
            "", "Say that both are one thing: it is followed through this plane", self._join
        )
        self.forget = button(
            "Forget what was followed",
            "Remove it from all planes in which nobody fixed it; undo brings it back",
            self._forget,
        )
        self.through = labelled(("Through", self.axis))
        scrolling(
            self,
            self.about,
            self.through,
            labelled(("Direction", self.direction), ("Planes", self.planes)),
            in_a_row(self.start, self.stop),
            self.progress,
            self.status,
            separator(),
            self.strip,
            self.said,
            self.again,
            self.join,
            self.forget,
            self.legend,
        )

    # What a person does

    def follow(self) -> Job | None:
        """Follow the object from the plane that is shown; None if that cannot be begun."""
        workplace, number = self._workplace, self._here()
        if workplace is None or number is None:
            return None
        reach = self._reach()
        return self._run(
            f"following object {self.track}",
            lambda told, stop: propagate_object(
                workplace, number, reach, on_progress=told, should_stop=stop
            ),
        )

    def follow_again(self) -> Job | None:
        """Follow it again around the plane that is shown, between planes that are fixed."""
        workplace, track = self._workplace, self.track
        if workplace is None or track is None:
            return None
        plane, reach = workplace.session.plane, self._reach()
        return self._run(
            f"following object {track} again",
            lambda told, stop: recompute(
                workplace, track, plane, reach, on_progress=told, should_stop=stop
            ),
        )

    def _run(self, name: str, work: Any) -> Job | None:
        if self._job is not None or not self.attachment.here():
            return None
        embedder = self.attachment.embedder

        def aside(report: Any, should_stop: Any) -> Outcome:
            with nullcontext() if embedder is None else embedder.aside():
                outcome: Outcome = work(report, should_stop)
            return outcome

        self._job = job = run_job(self, aside, name)
        job.progressed.connect(lambda told: self._hear_progress(job, told))
        job.finished.connect(lambda outcome: self._finish(job, outcome))
        job.failed.connect(lambda sentence: self._fail(job, sentence))
        job.stopped.connect(lambda: self._fail(job, "Stopped."))
        self._lost = {}
        self.progress.setMaximum(0)  # it moves until the first plane is looked at
        self.status.setText("Beginning ...")
        self._show()
        return job

    def _stop(self) -> None:
        if self._job is not None:
            self._job.stop()
            self.status.setText("Stopping after this plane ...")

    def _join(self) -> None:
        workplace, number, before = self._workplace, self.track, self._before
        if workplace is None or number is None or before is None:
            return
        try:
            slices = workplace.session.track(before)
            workplace.session.join_track(next(iter(slices.values())), [number])
        except InputError as error:
            self.attachment.say(str(error), "warning")
            return
        self._choose(before)
        self.attachment.say(f"This plane belongs to object {before} now.")

    def _forget(self) -> None:
        if self._workplace is None or self.track is None:
            return
        try:
            gone = self._workplace.session.forget_propagated(self.track)
        except InputError as error:
            self.attachment.say(str(error), "warning")
            return
        self._lost = {}
        self.attachment.say(f"Object {self.track} is gone from {_planes(len(gone))}.")

    def _reach(self) -> Reach:
        return Reach(
            self.axis.currentData(), self.planes.value() or None, self.direction.currentData()
        )

    # What happens

    def _begin(self, workplace: Workplace | None) -> None:
        """Take notice of another image, or of another plane or model of the same one."""
        if workplace is not self._workplace:
            self._workplace, self._lost = workplace, {}
            self.track = self._before = None
            if self._job is not None:
                self._job.stop()
                self._job = None
            self.progress.reset()
            self.status.setText("")
            axes = () if workplace is None else axes_there(workplace.scene)
            with QSignalBlocker(self.axis):
                self.axis.clear()
                for axis in axes:
                    self.axis.addItem(_AXES[axis], axis)
            self.through.setVisible(len(axes) > 1)
        self._show()

    def _picked(self) -> None:
        picked = self.attachment.intent.picked
        if self._workplace is not None and len(picked) == 1:
            self._choose(track_of(self._workplace.session, picked[0]))

    def _choose(self, track: int | None) -> None:
        """Show another thing; the one before may be what this is a slice of."""
        if track is None or track == self.track or self._job is not None:
            self._show()
            return
        workplace = self._workplace
        if workplace is not None and self.track in workplace.session.tracks():
            self._before = self.track
        self.track, self._lost = track, {}
        self._show()

    def _hear(self, event: SessionEvent) -> None:
        workplace = self._workplace
        if workplace is None or event.kind == "candidates":
            return
        if event.kind == "step" and not event.ids & self._ids and event.text not in _MADE:
            return  # of other objects
        if event.kind in ("undo", "redo"):
            self._lost = {}
        if event.kind == "step" and event.text in _MADE:
            session = workplace.session
            here = [
                number
                for number in session.ids
                if number in event.ids and session.info(number).plane == session.plane
            ]
            if len(here) == 1:
                self._choose(track_of(session, here[0]))
        self._show()

    def _hear_progress(self, job: Job, told: Progress) -> None:
        if job is not self._job:
            return
        self.progress.setMaximum(max(1, told.total))
        self.progress.setValue(min(told.looked, told.total))
        if told.found is not None:
            sure = told.found.confidence
            kind = "guessed" if told.found.interpolated else "followed"
            self.strip.replace(Cell(told.plane, kind, sure, f"Confidence {sure:.2f}."))  # type: ignore[arg-type]
            return
        number = told.plane[1 if self.axis.currentData() == "z" else 0]
        left = "" if told.seconds_left is None else f", at most {_duration(told.seconds_left)} left"
        self.status.setText(f"Looking at plane {number}{left}")

    def _finish(self, job: Job, outcome: Outcome) -> None:
        if job is not self._job:
            return
        self._job, self._lost = None, dict(outcome.lost)
        self._rest(outcome.sentence)
        self.attachment.say(outcome.sentence)

    def _fail(self, job: Job, sentence: str) -> None:
        if job is not self._job:
            return
        self._job = None
        self._rest(sentence)
        self.attachment.say(sentence, "warning")

    def _rest(self, sentence: str) -> None:
        self.progress.setMaximum(1)
        self.progress.reset()
        self.status.setText(sentence)
        self._show()

    # What is shown

    def _here(self) -> int | None:
        """Return the slice of the object in the plane that is shown; None if there is none."""
        if self._workplace is None or self.track is None:
            return None
        session = self._workplace.session
        try:
            return session.track(self.track).get(session.plane)
        except InputError:
            return None

    def _show(self, *_: object) -> None:
        """Show the object in all planes, and enable what can be done."""
        workplace, busy = self._workplace, self._job is not None
        idle = not busy and not self.attachment.busy
        slices: dict[tuple[int, int], int] = {}
        if workplace is not None and self.track is not None:
            try:
                slices = workplace.session.track(self.track)
            except InputError:
                slices = {}  # it was deleted, or taken back
        self._ids = {*slices.values()}
        self._tell(slices)
        if not busy:
            self._show_strip(bool(slices))
        rows = [cell for cell in self.strip.cells if cell.kind not in ("none", "lost")]
        several = workplace is not None and bool(axes_there(workplace.scene))
        here = self._here() is not None
        self.start.setEnabled(idle and several and here)
        self.stop.setEnabled(busy)
        fixed = [cell for cell in rows if cell.kind == "fixed"]
        self.again.setEnabled(idle and several and bool(fixed) and len(rows) > 1)
        self.forget.setEnabled(idle and len(fixed) < len(rows))
        before = self._before
        joinable = (
            workplace is not None
            and before is not None
            and len(slices) == 1
            and before != self.track
            and not set(slices) & set(workplace.session.tracks().get(before, slices))
        )
        self.join.setVisible(joinable)
        self.join.setText(f"This is object {before} too")
        self.join.setEnabled(idle)

    def _show_strip(self, there: bool) -> None:
        workplace, axis = self._workplace, self.axis.currentData()
        cells: list[Cell] = []
        if workplace is not None and axis is not None and self.track is not None and there:
            session = workplace.session
            cells = track_cells(session, workplace.scene, axis, self.track, self._lost)
        shown = None if workplace is None else workplace.session.plane
        self.strip.show_cells(cells, shown)
        self.said.setText(summary(cells))
        for part in (self.strip, self.said, self.legend):
            part.setVisible(bool(cells))

    def _tell(self, slices: dict[tuple[int, int], int]) -> None:
        workplace = self._workplace
        if workplace is None:
            self.about.setText("Open a stack or a time series in Segment first.")
        elif not axes_there(workplace.scene):
            self.about.setText("This image has one plane only.")
        elif not slices:
            self.about.setText("Keep an object in Segment, or Shift+click on one.")
        else:
            info = workplace.session.info(next(iter(slices.values())))
            named = f" · {info.class_name}" if info.class_name else ""
            if workplace.session.plane in slices:
                self.about.setText(f"Object {self.track}{named}")
            else:
                self.about.setText(
                    f"Object {self.track}{named} is not in this plane: go to one of its planes to "
                    f"follow it from there."
                )


def _planes(count: int) -> str:
    return f"{count} plane{'s'[: count != 1]}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
