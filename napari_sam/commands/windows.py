"""Whether windows can be opened, found out before one is tried."""

import importlib.util
import os
import subprocess
import sys

from napari_sam.errors import InputError

__all__ = ["check_windows", "why_no_windows"]

_TRY = "from qtpy.QtWidgets import QApplication; QApplication([])"


def why_no_windows() -> str | None:
    """Return why napari cannot open a window here, in a sentence; None if it can."""
    if importlib.util.find_spec("napari") is None:
        return 'napari is not installed: pip install "napari-sam-tiled[gui]".'
    displays = "DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"
    if sys.platform.startswith("linux") and not any(map(os.environ.get, displays)):
        return (
            "There is no display to open a window on: run it on a desktop, or with ssh -X; "
            "`napari-sam segment` needs none."
        )
    # Qt ends the process that finds no display, or misses a library: one of its own tries.
    tried = subprocess.run(
        [sys.executable, "-c", _TRY], check=False, capture_output=True, text=True, errors="replace"
    )
    if tried.returncode == 0:
        return None
    lines = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
    said = (lines or ["no reason is told"])[0 if tried.returncode < 0 else -1]
    return (
        f"Qt cannot open a window here ({said.rstrip('.')}): see that the display can be reached, "
        f'and pip install "napari-sam-tiled[gui]".'
    )


def check_windows() -> None:
    """Refuse to go on where no window can be opened.

    Raises
    ------
    InputError
        With the reason, and what helps.
    """
    if reason := why_no_windows():
        raise InputError(reason)
