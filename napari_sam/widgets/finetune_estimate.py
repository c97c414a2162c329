"""What each way to teach takes on this machine, measured when a person asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_sam.errors import InputError
from napari_sam.live.lessons import METHODS, estimate_all
from napari_sam.live.training_words import estimate_said

from .controls import button
from .finetune_methods import MethodChoice
from .jobs import Job, run_job

if TYPE_CHECKING:
    from napari_sam.finetune.settings import RunSettings

__all__ = ["EstimateRow"]

_MEASURING = "measuring ..."

Asked = Callable[[], dict[str, "RunSettings"]]
Before = Callable[[], Callable[..., object] | None]


class EstimateRow(QWidget):
    """Buttons to measure what the methods take, and to leave it; written beside the methods.

    Parameters
    ----------
    methods : MethodChoice
        Where it is written.
    asked : callable
        Returns the settings of a run with each method, or raises `InputError`.
    before : callable
        Returns what is to be done before anything is measured, or None: called with a function
        that takes progress, and one that tells whether to stop.
    """

    said = Signal(str)
    """Why something cannot be measured, in a sentence."""

    def __init__(self, methods: MethodChoice, asked: Asked, before: Before) -> None:
        super().__init__()
        self._methods, self._asked, self._before = methods, asked, before
        self._job: Job | None = None
        self._told: dict[str, str] = {}
        self._ready = False
        self.measure = button(
            "Estimate", "Make a few steps with each method, to tell its time and memory", self.run
        )
        self.leave = button("Stop", "Measure no more", self.stop)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.measure)
        layout.addWidget(self.leave)
        methods.mae.toggled.connect(lambda _: self.forget())
        self._enable()

    def set_ready(self, ready: bool) -> None:
        """Say whether there is something to measure."""
        self._ready = ready
        self._enable()

    def run(self) -> Job | None:
        """Measure what each method takes; None if that cannot be begun."""
        if not self._ready or self._job is not None:
            return None
        try:
            asked = self._asked()
        except InputError as error:
            self.said.emit(str(error))
            return None
        before = self._before()

        def work(report: Any, should_stop: Any) -> None:
            if before is not None:
                before(lambda _: None, should_stop)
            estimate_all(asked, report, should_stop)

        self._told = {METHODS[0].method: _MEASURING}
        self._job = job = run_job(self, work, "measuring")
        job.progressed.connect(lambda found: self._hear(job, *found))
        job.finished.connect(lambda _: self._over(job))
        job.stopped.connect(lambda: self._over(job))
        job.failed.connect(lambda sentence: self._over(job, sentence))
        self._methods.tell(self._told)
        self._enable()
        return job

    def stop(self) -> None:
        """Measure no more; what was measured stays."""
        if self._job is not None:
            self._job.stop()
            self.leave.setEnabled(False)

    def forget(self) -> None:
        """Stop, and show nothing any more: something else is to be measured now."""
        self.stop()
        self._job = None
        self._methods.tell({})
        self._enable()

    def _hear(self, job: Job, method: str, estimate: Any) -> None:
        if job is not self._job:
            return
        failed = isinstance(estimate, str)
        if failed:
            self.said.emit(estimate)
        self._told[method] = "impossible" if failed else estimate_said(estimate)
        following = [way.method for way in METHODS if way.method not in self._told]
        if following:
            self._told[following[0]] = _MEASURING
        self._methods.tell(self._told)

    def _over(self, job: Job, sentence: str = "") -> None:
        if job is not self._job:
            return
        self._job = None
        self._methods.tell({way: said for way, said in self._told.items() if said != _MEASURING})
        if sentence:
            self.said.emit(sentence)
        self._enable()

    def _enable(self) -> None:
        self.measure.setEnabled(self._ready and self._job is None)
        self.leave.setVisible(self._job is not None)
        self.leave.setEnabled(self._job is not None)
