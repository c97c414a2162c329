"""Where a person's own things lie that belong to no image."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

__all__ = ["user_folder"]


def user_folder() -> Path:
    """Return the folder of ``NAPARI_SAM_DATA``, or else the one the operating system has for it.

    It need not exist yet.
    """
    given = os.environ.get("NAPARI_SAM_DATA")
    return Path(given).expanduser() if given else platformdirs.user_data_path("napari-sam", False)
