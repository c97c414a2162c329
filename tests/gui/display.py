"""A screen for the tests: the one that is there, or one of their own that nobody sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = (
    "xvfb libegl1 libgl1 libdbus-1-3 libfontconfig1 libglib2.0-0 libxkbcommon-x11-0 libxcb-cursor0 "
    "libxcb-icccm4 libxcb-keysyms1 libxcb-randr0 libxcb-shape0"
)
"""Those of Debian and Ubuntu that `.ci/run` installs."""

_PROBE = """
import napari._qt
from qtpy.QtGui import QOffscreenSurface, QOpenGLContext
from qtpy.QtWidgets import QApplication
application = QApplication([])
surface, context = QOffscreenSurface(), QOpenGLContext()
surface.create()
assert context.create() and context.makeCurrent(surface), "OpenGL cannot be used"
context.doneCurrent()
"""


def start_xvfb() -> subprocess.Popen[bytes] | None:
    """Start a display that nobody sees, where one is needed and can be; name it in DISPLAY."""
    has_screen = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    if not sys.platform.startswith("linux") or has_screen:
        return None
    program = shutil.which("Xvfb")
    if program is None:
        return None
    out, into = os.pipe()
    # It looks for a free number itself, and writes it where it is told when it is ready. A shell
    # ends it when this process is gone, however that ended.
    server = subprocess.Popen(
        [
            "sh",
            "-c",
            f"'{program}' -displayfd {into} -screen 0 1600x1000x24 -nolisten tcp & read _; kill $!",
        ],
        pass_fds=[into],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(into)
    with os.fdopen(out) as told:
        number = told.readline().strip()
    if not number:
        stop_xvfb(server)
        return None
    os.environ["DISPLAY"] = f":{number}"
    return server


def stop_xvfb(server: subprocess.Popen[bytes]) -> None:
    """End a display that was started."""
    assert server.stdin is not None
    server.stdin.close()
    server.wait()


def what_is_missing() -> str | None:
    """Return why no viewer can be opened, in a sentence; None if one can.

    A process of its own tries: Qt ends the one that it finds no display in.
    """
    tried = subprocess.run(
        [sys.executable, "-c", _PROBE],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if tried.returncode == 0:
        return None
    said = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
    # A traceback says last what is wrong. Qt, when it ends a process, says it first.
    reason = (said or ["no reason was told"])[0 if tried.returncode < 0 else -1]
    return (
        f"No viewer can be opened here ({reason[:200]}): install the [gui] extra and, on Debian or "
        f"Ubuntu, apt-get install {PACKAGES}"
    )
