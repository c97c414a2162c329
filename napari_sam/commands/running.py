"""What the commands share: telling how far things are, and what was found."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from tqdm import tqdm

from napari_sam.segment.objects import SegmentedObject

if TYPE_CHECKING:
    from napari_sam.tiles.store import EmbeddingStore, SceneInfo
    from src_model import Sam

ROWS_SHOWN = 10

LINE_SECONDS = 30.0
"""Between two lines about progress where no bar can be drawn."""


@contextmanager
def progress_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr while the block runs; a line now and then if it is no terminal.

    Parameters
    ----------
    unit : str
        What is counted.

    Yields
    ------
    callable
        To be called with the number done and the number of all.
    """
    if not sys.stderr.isatty():
        yield _progress_lines(unit)
        return
    with tqdm(unit=f" {unit}", leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update


def _progress_lines(unit: str) -> Callable[[int, int], None]:
    """Return a function that writes how far things are, every `LINE_SECONDS` at most."""
    began = told = time.monotonic()

    def update(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < LINE_SECONDS or not 0 < done < total:
            return
        told = now
        minutes = math.ceil((now - began) / done * (total - done) / 60)
        print(f"{done} of {total} {unit}, about {minutes} min left", file=sys.stderr)

    return update


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Let ctrl-C or SIGTERM end the work after the current step; a second ctrl-C ends it at once.

    Yields
    ------
    callable
        Tells whether one of them came.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        # A second SIGTERM is no impatience: `timeout` sends one to the process, one to its group.
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def describe(objects: Sequence[SegmentedObject]) -> str:
    """Set the most important columns of the table of objects as text.

    Parameters
    ----------
    objects : sequence of SegmentedObject
        The first `ROWS_SHOWN` are set.

    Returns
    -------
    str
        Lines with an indent; empty if there is no object.

    Examples
    --------
    >>> print(describe([SegmentedObject(1, "point", 9, (0, 0, 3, 3), (1.0, 1.0), 0.91, 0.9)]))
      id  prompt      area px  centre row,col  predicted IoU  stability
       1  point             9             1,1           0.91       0.90
    """
    if not objects:
        return ""
    lines = ["  id  prompt      area px  centre row,col  predicted IoU  stability"]
    for found in objects[:ROWS_SHOWN]:
        centre = ",".join(f"{position:.0f}" for position in found.centroid)
        lines.append(
            f"{found.id:4}  {found.prompt:10}{found.area:9}{centre:>16}"
            f"{found.predicted_iou:15.2f}{found.stability:11.2f}"
        )
    if len(objects) > ROWS_SHOWN:
        lines.append(f"   ... and {len(objects) - ROWS_SHOWN} more in the table")
    return "\n".join(lines)


def count(objects: Sequence[SegmentedObject]) -> str:
    """Say how many objects there are.

    Examples
    --------
    >>> count([])
    'no object'
    """
    if len(objects) == 1:
        return "1 object"
    return f"{len(objects) or 'no'} object{'s' if objects else ''}"


def tell_whose_embeddings(store: EmbeddingStore, sam: Sam, model_name: str) -> None:
    """Write to stderr that the embeddings in a store are those of another model, if they are.

    Parameters
    ----------
    store : EmbeddingStore
        Of the embeddings.
    sam : Sam
        What answers.
    model_name : str
        By which that was asked for.
    """
    from napari_sam.own_models import whose_embeddings
    from napari_sam.tiles.subjects import ModelInfo

    told = whose_embeddings(store.model, ModelInfo.of(sam), model_name)
    if told:
        print(told, file=sys.stderr)


def plane_said(scene: SceneInfo) -> str:
    """Say which plane of a stack or series is meant; nothing for a single image."""
    places = (("T", scene.t), ("Z", scene.z))
    return "".join(f", {axis.lower()} = {index}" for axis, index in places if axis in scene.axes)
