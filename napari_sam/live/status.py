"""What is told of encoding in the background."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import Progress

__all__ = ["Doing", "Status"]

Doing = Literal["stopped", "paused", "waiting", "encoding", "aside"]
"""Nothing, until it is started; nothing, but it knows what is left; all is done that is wanted, and
it looks what comes; encoding; letting a prompt go first."""


@dataclass(frozen=True)
class Status:
    """How far an `Embedder` is.

    Parameters
    ----------
    doing : Doing
        What it does.
    counts : Progress
        All tiles of the store, by state.
    left : int
        Tiles that are missing and wanted: in view, or asked for.
    running : tuple of TileId
        Those in hand.
    seconds_left : float, optional
        About; None before anything was encoded.
    problem : str, optional
        Why it paused by itself, in a sentence.
    """

    doing: Doing = "stopped"
    counts: Progress = field(default_factory=lambda: Progress(0, 0, 0, 0))
    left: int = 0
    running: tuple[TileId, ...] = ()
    seconds_left: float | None = None
    problem: str | None = None
