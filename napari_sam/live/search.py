"""Everything in a scene beside a person: partial results as tiles come, filtered again at will."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from napari_sam.errors import InputError
from napari_sam.segment.everything import (
    Everything,
    EverythingProgress,
    EverythingResult,
    FoundObjects,
    Thresholds,
    found_so_far,
    segment_everything,
)
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import Roi

from .found_labels import FoundLevel, found_levels

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.tiles.store import EmbeddingStore, Failure
    from src_model import Sam

__all__ = ["Partial", "Search", "Wanted", "within"]

_SHARE = 0.1
"""How much of the time may go into partial results."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for.

    Parameters
    ----------
    sizes : (float or None, float or None)
        Smallest and largest objects: sides of squares of the same area.
    unit : str
        Of `sizes`: "px" of level 0, or a unit of length.
    roi : Roi, optional
        Where; by default everywhere.
    """

    sizes: tuple[float | None, float | None] = (None, None)
    unit: str = "px"
    roi: Roi | None = None


@dataclass(frozen=True, eq=False)
class Partial:
    """What a search found until now, or what it found for some thresholds.

    Parameters
    ----------
    found : FoundObjects
        The objects, whole across tiles as far as these are done.
    levels : tuple of FoundLevel
        The same as labels, finest first.
    """

    found: FoundObjects
    levels: tuple[FoundLevel, ...]


class Search:
    """A search for everything in one scene: run, stopped, gone on with, filtered.

    `run` and `filter` are slow and meant for a thread, one at a time.

    Parameters
    ----------
    scene, store, sam
        As `segment_everything` takes them.
    """

    def __init__(self, scene: Scene, store: EmbeddingStore, sam: Sam) -> None:
        self._scene, self._store, self._sam = scene, store, sam
        self._everything: Everything | None = None
        self._roi: Roi | None = None
        self._lock = threading.Lock()
        self.failed: tuple[Failure, ...] = ()

    @property
    def everything(self) -> Everything | None:
        """What the last run found, with whatever thresholds."""
        return self._everything

    def run(
        self,
        wanted: Wanted,
        thresholds: Thresholds | None = None,
        on_progress: Callable[[EverythingProgress], object] | None = None,
        on_partial: Callable[[Partial], object] | None = None,
        should_stop: Callable[[], bool] | None = None,
        retry_failed: bool = False,
    ) -> tuple[EverythingResult, Partial]:
        """Look for objects; tiles that were done before are not done again.

        Parameters
        ----------
        wanted : Wanted
            What.
        thresholds : Thresholds, optional
            What makes an object; by default what suits the model.
        on_progress : callable, optional
            Called for every tile that is settled.
        on_partial : callable, optional
            Called with what there is, as often as that takes a tenth of the time.
        should_stop : callable, optional
            Asked before every tile.
        retry_failed : bool
            Also repeat tiles that failed before.

        Returns
        -------
        EverythingResult
            Also if it was asked to stop: `left` tells how many tiles are not done.
        Partial
            Its objects, to be shown.

        Raises
        ------
        InputError, StoreMismatch, StoreUnusable
            As `segment_everything`.
        """
        busy_until = 0.0

        def told(progress: EverythingProgress) -> None:
            nonlocal busy_until
            if on_progress is not None:
                on_progress(progress)
            began = time.monotonic()
            if on_partial is None or began < busy_until or progress.settled == progress.total:
                return
            everything = found_so_far(
                self._scene,
                self._store,
                self._sam,
                sizes=wanted.sizes,
                unit=wanted.unit,
                roi=wanted.roi,
            )
            found = within(everything.filter(thresholds), wanted.roi)
            on_partial(_shown(found, threading.Lock()))
            ended = time.monotonic()
            busy_until = ended + (ended - began) * (1 - _SHARE) / _SHARE

        result = segment_everything(
            self._scene,
            self._store,
            self._sam,
            sizes=wanted.sizes,
            unit=wanted.unit,
            roi=wanted.roi,
            thresholds=thresholds,
            retry_failed=retry_failed,
            on_progress=told,
            should_stop=should_stop,
        )
        self._everything, self._lock = result.everything, threading.Lock()
        self._roi, self.failed = wanted.roi, result.failed
        return result, _shown(within(result.objects, wanted.roi), self._lock)

    def filter(self, thresholds: Thresholds) -> Partial:
        """Find the objects for other thresholds, without the network.

        Raises
        ------
        InputError
            If a threshold cannot be used, or nothing was looked for yet.
        """
        if self._everything is None:
            raise InputError("Nothing was looked for yet: start a search first.")
        with self._lock:
            found = within(self._everything.filter(thresholds), self._roi)
        return _shown(found, self._lock)


def within(found: FoundObjects, roi: Roi | None) -> FoundObjects:
    """Return the objects whose centre lies in a region; ids begin with 1 again.

    Whole tiles are searched, so that more is found than was asked for.

    Parameters
    ----------
    found : FoundObjects
        Of the tiles of the region.
    roi : Roi or None
        A box, polygons or a mask; None is the whole scene.
    """
    if roi is None:
        return found
    rows, cols = found.centroids.T
    if isinstance(roi, Region):
        inside = (rows >= roi.row0 - 0.5) & (rows < roi.row1 - 0.5)
        inside &= (cols >= roi.col0 - 0.5) & (cols < roi.col1 - 0.5)
    elif isinstance(roi, np.ndarray) and roi.dtype == np.bool_:
        share = (found.centroids + 0.5) / found.shape
        places = (share * roi.shape).astype(int).clip(0, np.array(roi.shape) - 1)
        inside = roi[tuple(places.T)]
    else:
        from skimage.measure import points_in_poly  # slow to import

        rings = (roi,) if isinstance(roi, np.ndarray) else roi
        inside = np.logical_xor.reduce([points_in_poly(found.centroids, ring) for ring in rings])
    kept = np.flatnonzero(inside)
    columns = {
        field.name: getattr(found, field.name)[kept]
        for field in fields(found)
        if field.name not in ("shape", "_mask")
    }
    return FoundObjects(found.shape, **columns, _mask=lambda index: found.mask(int(kept[index])))


def _shown(found: FoundObjects, lock: threading.Lock) -> Partial:
    levels = found_levels(found, lock)
    # The overview is painted here, and not where it is looked at.
    levels[-1].paint(Region(0, 0, *levels[-1].shape))
    return Partial(found, tuple(levels))
