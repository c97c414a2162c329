"""What the first click needs and what takes seconds to import: begun before it is asked for."""

from __future__ import annotations

import importlib.util
import sys
import threading

__all__ = ["DEFAULT_MODEL", "activate", "preload"]

DEFAULT_MODEL = "vit_nano"


def preload() -> threading.Thread | None:
    """Import what is slow in a thread, beside what a person does meanwhile.

    Returns
    -------
    Thread or None
        None if all of it is there already.
    """
    if all(name in sys.modules for name in _needed()):
        return None
    thread = threading.Thread(target=_preload, name="napari-sam: preloading")
    thread.start()
    return thread


def activate(context: object) -> None:
    """Preload when napari is asked for anything of this plugin: a widget, a sample, a session."""
    preload()


def _needed() -> list[str]:
    """Return what computes, and what napari imports at the first layer of labels, if it is there.

    A script may have no napari.
    """
    return ["torch", *(["pandas"] if importlib.util.find_spec("pandas") else [])]


def _preload() -> None:
    for name in _needed():
        importlib.import_module(name)
    from napari_sam.loading import load

    load(DEFAULT_MODEL)  # its file is in the disk's cache then, and what reads it imported
