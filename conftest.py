"""What must be settled before any test is collected: whether Qt can be loaded, and which one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

WIDGETS = Path(__file__).parent / "napari_sam" / "widgets"

# Processes that share the work (`pytest -n 2`) must not each take all processors.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# One name says it to qtpy, which the plugin uses, and to pytest-qt.
os.environ.setdefault("QT_API", "pyside6")
os.environ["PYTEST_QT_API"] = os.environ["QT_API"]


def _can_load_qt() -> bool:
    """Whether there are napari, a Qt for Python, and the libraries of the system that Qt needs."""
    try:
        import napari  # noqa: F401
        from qtpy import QtWidgets  # noqa: F401
    except Exception:  # qtpy raises types of its own, a missing library is an ImportError
        return False
    return True


CAN_LOAD_QT = _can_load_qt()


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Leave plugins of pytest out that would end the whole run where Qt cannot be loaded."""
    if not CAN_LOAD_QT:
        for name in ("pytest-qt", "napari"):
            pluginmanager.unregister(name=name)
            pluginmanager.set_blocked(name)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Look for examples in the widgets only where they can be imported."""
    inside = WIDGETS in (collection_path, *collection_path.parents)
    return True if inside and not CAN_LOAD_QT else None


@pytest.fixture(autouse=True)
def _disable_qt_warnings() -> None:
    """Take the place of a fixture of napari, which imports its windows for every test."""


@pytest.fixture(autouse=True)
def _clean_themes() -> None:
    """Likewise."""
