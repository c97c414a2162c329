"""A button that writes the objects in a format for others: a GIS, a PACS, a lab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_sam.files.formats import WRITERS, Writer
from napari_sam.live.exporting import export_session, suggested_path

from .jobs import Job, run_job

if TYPE_CHECKING:
    from .attached import Attachment

__all__ = ["ExportButton"]

_ANY = "as the name ends (*)"


class ExportButton(QPushButton):
    """Asks for a file and its format, and writes there beside the person's work.

    Parameters
    ----------
    attachment : Attachment
        Whose objects.
    """

    def __init__(self, attachment: Attachment) -> None:
        super().__init__("Export ...")
        self.setToolTip("Write the objects in a format that other programs read")
        self._attachment, self._job = attachment, None
        self.clicked.connect(self._ask)

    def _ask(self) -> None:
        workplace = self._attachment.workplace
        if workplace is None or not workplace.session.ids:
            self._attachment.say("There are no objects to export.", "warning")
            return
        filters = {_ANY: None, **{_filter(writer): writer for writer in WRITERS}}
        name, chosen = QFileDialog.getSaveFileName(
            self, "Export the objects", str(suggested_path(workplace)), ";;".join(filters)
        )
        if name:
            self.export(Path(name), filters.get(chosen))

    def export(self, path: Path, writer: Writer | None = None) -> Job | None:
        """Write the objects to a file; None if there is no image, or another export goes on.

        Parameters
        ----------
        path : Path
            Its ending tells the format, if `writer` does not; it gets one if it has none.
        writer : Writer, optional
            The format.
        """
        workplace, attachment = self._attachment.workplace, self._attachment
        if workplace is None or not self.isEnabled():
            return None
        if writer is not None and not path.name.lower().endswith(writer.endings):
            path = path.with_name(path.name + writer.endings[0])
        to = None if writer is None else writer.name
        session = workplace.session
        job = run_job(self, lambda *_: export_session(session, path, to), f"exporting {path.name}")
        self.setEnabled(False)
        job.finished.connect(attachment.say)
        job.failed.connect(lambda sentence: attachment.say(sentence, "error"))
        for end in (job.finished, job.failed):
            end.connect(lambda *_: self.setEnabled(True))
        return job


def _filter(writer: Writer) -> str:
    return f"{writer.says} ({' '.join('*' + ending for ending in writer.endings)})"
