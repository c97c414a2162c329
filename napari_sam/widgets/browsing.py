"""Files that are looked at outside of napari."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices

__all__ = ["open_outside"]


def open_outside(path: Path) -> bool:
    """Open a page or a picture with what the system has for it; False if it has nothing."""
    return bool(QDesktopServices.openUrl(QUrl.fromLocalFile(str(path.absolute()))))
