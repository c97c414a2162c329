"""The widget that teaches a model what a person means: data, training, result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from .attached import attach
from .controls import Message, scrolling
from .finetune_data import DataStep
from .finetune_result import ResultStep
from .finetune_training import TrainingStep
from .fold import Fold

if TYPE_CHECKING:
    import napari

    from napari_sam.finetune.datasets import Dataset
    from napari_sam.finetune.process import RunView
    from napari_sam.live.workplace import Workplace
    from napari_sam.session import SessionEvent

__all__ = ["FineTuneWidget"]


class FineTuneWidget(QWidget):
    """Makes a dataset of what is outlined, trains on it, and shows what that was worth.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose objects.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:  # napari looks for this name
        super().__init__()
        self.attachment = attach(viewer)
        self.data = DataStep(self.attachment)
        self.training = TrainingStep(self.attachment)
        self.result = ResultStep(self.attachment)
        self.about = Message()
        self.folds = [
            Fold("1  Data", self.data, opened=True),
            Fold("2  Training", self.training),
            Fold("3  Result", self.result),
        ]
        scrolling(self, self.about, *self.folds)
        self.data.prepared.connect(self._prepared)
        self.training.run_changed.connect(self._run_changed)
        self.result.kept.connect(lambda _: self.training.list_models())
        self.attachment.workplace_changed.connect(self._begin)
        self.attachment.session_changed.connect(self._hear)
        self._begin(self.attachment.workplace)

    def _begin(self, workplace: Workplace | None) -> None:
        self.about.setText(
            "Objects that you accepted or corrected teach a model what you mean."
            if workplace is not None
            else "No image is open: open one in Segment or Embed; trainings go on by themselves."
        )
        self.data.begin()
        self.training.begin()

    def _hear(self, event: SessionEvent) -> None:
        if event.kind == "plane":
            self.data.finished.tell()
            self.data.show_blocks()

    def _prepared(self, dataset: Dataset | None) -> None:
        self.training.set_dataset(dataset)
        if dataset is not None:
            self.folds[1].open()

    def _run_changed(self, view: RunView | None) -> None:
        self.result.show_run(view)
        if view is not None:
            self.folds[1].open()
            self.folds[2].open(view.state in ("finished", "stopped") or self.folds[2].opened)
