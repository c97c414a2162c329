"""Asks whether an image is encoded now for a model whose image encoder is another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_sam.errors import InputError
from napari_sam.live.embed_words import plan_said
from napari_sam.tiles.planning import Plan

from .controls import button, in_a_row
from .jobs import Job, run_job

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["EncodeAgain"]


class EncodeAgain(QWidget):
    """A question with two answers, that is shown when there is reason to ask.

    Parameters
    ----------
    attachment : Attachment
        Whose image.
    """

    def __init__(self, attachment: Attachment) -> None:
        super().__init__()
        self._attachment = attachment
        self._estimating: Job | None = None
        self._why = ""
        self.question = QLabel()
        self.question.setWordWrap(True)
        self.now = button("Encode now", "All of the image, in the background", self._now)
        self.later = button(
            "Later", "Only what a prompt needs; the Embed widget does the rest when asked", self._no
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.question)
        layout.addWidget(in_a_row(self.now, self.later))
        self.hide()

    def ask(self, why: str) -> None:
        """Ask, and tell what it takes as soon as that is known.

        Parameters
        ----------
        why : str
            A sentence.
        """
        embedder = self._attachment.embedder
        if embedder is None:
            return
        if self._estimating is not None:
            self._estimating.abandon(0)  # it is about another model
        self._why = why
        self.question.setText(f"{why} Now?")
        self.show()
        job = self._estimating = run_job(
            self, lambda *_: embedder.estimate(), "estimating what encoding takes"
        )
        job.finished.connect(self._estimated)
        job.failed.connect(self._over)  # whoever encodes is told why that fails
        job.stopped.connect(self._over)

    def _estimated(self, plan: Plan) -> None:
        self._estimating = None
        if plan.to_do:
            self.question.setText(f"{self._why} {plan_said(plan)} Now?")
        else:
            self.hide()

    def _over(self, *_: object) -> None:
        self._estimating = None

    def _now(self) -> None:
        self.hide()
        if self._attachment.embedder is not None:
            try:
                self._attachment.embedder.embed()
            except InputError as error:
                self._attachment.say(str(error), "warning")

    def _no(self) -> None:
        self.hide()
        if self._attachment.embedder is not None:
            self._attachment.embedder.stop()
