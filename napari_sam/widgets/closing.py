"""How things end: in threads, as closing takes a while, and with the window that they belong to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject, QTimer, Signal

from .jobs import Job, run_job
from .window import canvas, main_window

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["Closing", "WithWindow"]


class Closing(QObject):
    """Closes things in threads, and remembers those that could not be closed.

    Parameters
    ----------
    parent : QObject
        With whom it goes.
    """

    failed = Signal(str)
    """Why something could not be closed, in a sentence."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._jobs: list[Job] = []
        self._left: list[Callable[[], None]] = []

    def begin(self, name: str, close: Callable[[], None]) -> None:
        """Close something; the name says what that is."""

        def work(report: Callable[[object], None], stop: Callable[[], bool]) -> None:
            try:
                close()
            except BaseException:
                self._left.append(close)
                raise

        job = run_job(self, work, name)
        self._jobs.append(job)

        def over(*_: object) -> None:
            self._jobs.remove(job)

        job.finished.connect(over)
        job.failed.connect(over)
        job.failed.connect(self.failed)

    def wait(self) -> None:
        """Wait for all, and try again what failed; in the thread that opens something.

        Raises
        ------
        InputError
            If something still cannot be closed: its objects are nowhere else.
        """
        for job in list(self._jobs):
            job.wait(60)
        while self._left:
            self._left[0]()
            del self._left[0]

    def end(self) -> None:
        """Wait for a while, and tell nobody any more."""
        for job in self._jobs:
            job.wait(10)
            job.abandon()


class WithWindow(QObject):
    """Closes an attachment with its window, once it is sure that this closes.

    Parameters
    ----------
    attachment : Attachment
        Whose.
    """

    def __init__(self, attachment: Attachment) -> None:
        super().__init__(attachment)
        self._attachment = attachment
        self._refused, self._over = 0, False
        main_window(attachment.viewer).installEventFilter(self)

    def let_go(self) -> None:
        """Listen no more."""
        self._over = True
        main_window(self._attachment.viewer).removeEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Close the attachment, or keep the window open if that loses changes."""
        if event.type() == QEvent.Type.Close:
            if self._loses():
                event.ignore()
                return True
            if event.spontaneous():  # the person may still be asked, and say no
                QTimer.singleShot(0, self._close_if_hidden)
            else:
                self._attachment.close()
        return False

    def _loses(self) -> bool:
        """Tell, and say, whether closing now loses changes; not twice, so that it can be closed."""
        workplace = self._attachment.workplace
        if self._over or workplace is None or not canvas(self._attachment.viewer).isVisible():
            return False  # a script closes it, and cannot be stopped
        refused, self._refused = self._refused, workplace.session.write_unsaved()
        if self._refused in (0, refused):
            return False
        self._attachment.say(
            f"The window stays open, as {self._refused} changes are in memory only and cannot be "
            f"written: make room on the disk and close it; closed again without, it loses them.",
            "error",
        )
        return True

    def _close_if_hidden(self) -> None:
        if not self._over and not main_window(self._attachment.viewer).isVisible():
            self._attachment.close()
