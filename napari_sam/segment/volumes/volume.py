"""Everything in a volume: slices looked at, joined, agreed upon, filtered, written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.labelled import Labelled
from napari_sam.provenance import provenance
from napari_sam.scene import Scene, measure, open_scene
from napari_sam.scenes.normalisation import Normalisation
from napari_sam.scenes.planes import at_plane
from napari_sam.segment.everything.filtering import Thresholds
from napari_sam.segment.everything.grid import sizes_in_pixels
from napari_sam.tiles.store import Failure, ModelInfo

from .consensus import agree, voted
from .joining import JoinedVolume, Joining, join_slices
from .label_volume import Along, Measures, new_labels, slabs, write_slices
from .looking import Looked, SliceSizes, look_at_slices
from .sideways import rows_for_square, squared
from .sizes import Volumes, volumes_in_voxels, voxel_volume
from .slices import Kept, Slice

if TYPE_CHECKING:
    from src_model import Sam

__all__ = ["VolumeProgress", "VolumeResult", "segment_volume"]

_SAMPLED = 9
"""Slices of which the stretch of all is measured."""


@dataclass(frozen=True)
class VolumeProgress:
    """How far `segment_volume` is.

    Parameters
    ----------
    done, total : int
        Slices, of all directions.
    seconds_left : float or None
        About; None before the first slice that the network had to look at.
    """

    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True, eq=False)
class VolumeResult:
    """What `segment_volume` found.

    Parameters
    ----------
    labelled : Labelled or None
        The objects, ids from 1 on without gaps, with the axes ZYX; None if it was stopped before.
        The labels lie in the folder that was given.
    of_slices : int
        How many objects all slices along z have together.
    removed : int
        Objects that were left out for their size, or as they are in too few slices.
    left : int
        Slices not looked at, because it was asked to stop.
    failed : tuple of (str, int, Failure)
        Direction, slice and tile in which nothing could be found.
    seconds, seconds_per_slice : float
        How long it took; and on average for slices that the network looked at, 0 if none.
    """

    labelled: Labelled | None
    of_slices: int
    removed: int
    left: int
    failed: tuple[tuple[str, int, Failure], ...]
    seconds: float
    seconds_per_slice: float


def segment_volume(
    image: Any,
    folder: Path,
    sam: Sam,
    *,
    options: Mapping[str, Any] | None = None,
    sizes: SliceSizes = (None, None),
    unit: str = "px",
    volumes: Volumes | None = None,
    depth: float | None = None,
    least_slices: int = 2,
    thresholds: Thresholds | None = None,
    joining: Joining | None = None,
    consensus: bool = False,
    model: str | None = None,
    on_progress: Callable[[VolumeProgress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> VolumeResult:
    """Find all objects of a volume.

    Everything is found in each slice, then the slices are joined. It may be killed at any moment
    and called again: slices that were done are not looked at again, and what comes out is the same.
    With other thresholds, ways of joining or volumes the network is not needed again.

    Parameters
    ----------
    image : path, str or array
        As `open_scene` takes it; it has depth.
    folder : Path
        For what is kept: embeddings, raw candidates and labels.
    sam : Sam
        The network.
    options : mapping, optional
        Further arguments of `open_scene`, such as ``axes``, ``t`` or ``part``. All slices have one
        stretch, by default measured on several of them.
    sizes : (float or None, float or None)
        Smallest and largest objects, as sides of squares, each in its largest slice.
    unit : str
        Of `sizes`: "px", or a unit of length.
    volumes : Volumes, optional
        Smallest and largest objects.
    depth : float, optional
        From slice to slice, in the unit of the pixel size; by default what the file says.
    least_slices : int
        Objects that are in fewer slices are left out, but for a volume that has no more: what only
        one slice shows is most often none.
    thresholds : Thresholds, optional
        Of objects in slices; by default those of the model. Objects in others are left out.
    joining : Joining, optional
        What makes one object of those of slices.
    consensus : bool
        Look along y and x too, which takes as long for each plane there, and keep what at least two
        directions agree about.
    model : str, optional
        What the model is called, for the provenance.
    on_progress : callable, optional
        Called with a `VolumeProgress` for every slice.
    should_stop : callable, optional
        Asked before every tile.

    Returns
    -------
    VolumeResult

    Raises
    ------
    InputError
        If the image has no depth, sizes do not go with it, or something cannot be read or written.
    """
    began = time.monotonic()
    options = dict(options or {})
    for taken in ("z", "along"):
        if taken in options:
            raise InputError(f"All slices are looked at: leave {taken} out of the options.")
    scene = _whole(image, options, depth)
    joining = Joining() if joining is None else joining
    asked = Volumes() if volumes is None else volumes
    limits = volumes_in_voxels(asked, scene)  # or refuses, before anything is done
    smallest = sizes_in_pixels(sizes, unit, scene.pixel_size)[0]
    directions: tuple[Along, ...] = ("z", "y", "x") if consensus else ("z",)
    views = {along: _seen(image, options, scene, along) for along in directions}
    told = _Told(sum(view.planes for view in views.values()), on_progress)
    looked = {}
    for along, view in views.items():
        looked[along] = _look(
            view,
            along,
            folder,
            sam,
            sizes=sizes,
            unit=unit,
            thresholds=thresholds,
            on_slice=told,
            should_stop=should_stop,
        )
        if looked[along].left:
            break
    failed = tuple(
        (along, number, failure) for along, one in looked.items() for number, failure in one.failed
    )
    seconds = [second for one in looked.values() for second in one.seconds]
    each = sum(seconds) / len(seconds) if seconds else 0.0
    left = told.total - told.done
    if left:
        return VolumeResult(None, 0, 0, left, failed, time.monotonic() - began, each)
    shape = (scene.planes, *scene.shape)
    found = {}
    for along, one in looked.items():
        labels = new_labels(folder / f"joined_{along}.zarr", shape)
        found[along] = labels, join_slices(one.slices, labels, joining, along)
    labels, joined = found["z"]
    of_slices = joined.of_slices
    if consensus:
        labels, joined = _agreed(folder, found)
    low, high = limits
    good = joined.measures.volumes >= max(1.0, low or 0.0)
    good &= joined.measures.volumes <= (np.inf if high is None else high)
    good &= joined.measures.widest >= (smallest or 0.0) ** 2
    good &= joined.measures.slices >= min(least_slices, scene.planes)
    good[0] = False
    kept = np.flatnonzero(good)
    # Ids follow the first slice of each, then the order of what was joined.
    kept = kept[np.argsort(joined.measures.low[kept], kind="stable")]
    final = new_labels(folder / "labels.zarr", shape, by_slice=True)
    numbers = np.zeros(joined.count + 1, np.uint32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    for start, slab in slabs(labels):
        final[start : start + len(slab)] = numbers[slab]
    for along in found:
        shutil.rmtree(folder / f"joined_{along}.zarr", ignore_errors=True)
    shutil.rmtree(folder / "agreed.zarr", ignore_errors=True)
    known = provenance(scene.name, model or sam.variant.name, ModelInfo.of(sam).hash)
    labelled = Labelled(scene, final, "ZYX", tuple(_rows(joined, kept, scene)), known)
    there = int(np.count_nonzero(joined.measures.volumes[1:]))
    return VolumeResult(
        labelled, of_slices, there - len(kept), 0, failed, time.monotonic() - began, each
    )


class _Told:
    """Counts slices, and tells how far it is."""

    def __init__(self, total: int, tell: Callable[[VolumeProgress], None] | None) -> None:
        self.total, self.done, self._tell = total, 0, tell
        self._seconds: list[float] = []

    def __call__(self, objects: int, seconds: float | None) -> None:
        self.done += 1
        if seconds is not None:
            self._seconds.append(seconds)
        if self._tell is not None:
            recent = self._seconds[-16:]
            each = sum(recent) / len(recent) if recent else None
            left = None if each is None else each * (self.total - self.done)
            self._tell(VolumeProgress(self.done, self.total, left))


def _whole(image: Any, options: dict[str, Any], depth: float | None) -> Scene:
    """Open the first slice, with the stretch and the depth that are those of all."""
    scene = open_scene(image, **options)
    if "Z" not in scene.axes:
        raise InputError(
            f"{scene.name} has the axes {scene.axes} and no depth: leave out what makes a volume "
            f"of it, or say which axis is Z."
        )
    if depth is not None:
        if not (np.isfinite(depth) and depth > 0):
            raise InputError(f"Slices cannot lie {depth:g} apart: give a depth above 0.")
        scene = replace(scene, depth=float(depth))
    if "normalisation" not in options and not scene.windows:
        scene = replace(scene, normalisation=_stretch(scene))
    return scene


def _stretch(scene: Scene) -> Normalisation:
    """Return one stretch for all slices: the medians of several, but for those of one value."""
    numbers = np.unique(np.linspace(0, scene.planes - 1, _SAMPLED).round().astype(int))
    found = [measure(at_plane(scene, scene.t, number)) for number in numbers.tolist()]
    if found[0].kind == "as_is":
        return found[0]
    full = [one for one in found if np.less(one.low, one.high).all()]
    low, high = (np.median([getattr(o, end) for o in full or found], 0) for end in ("low", "high"))
    return Normalisation(found[0].kind, tuple(low.tolist()), tuple(high.tolist()))


def _seen(image: Any, options: dict[str, Any], scene: Scene, along: Along) -> Scene:
    """Return the volume as it is seen along an axis, with the stretch of all."""
    if along == "z":
        return scene
    view = open_scene(image, **{**options, "along": along, "normalisation": scene.normalisation})
    size, depth = scene.pixel_size, scene.depth
    if size is None or depth is None:
        return replace(view, pixel_size=None)
    cols = size.cols if along == "y" else size.rows
    return replace(view, pixel_size=replace(size, rows=depth, cols=cols))


def _look(view: Scene, along: Along, folder: Path, sam: Sam, **asked: Any) -> Looked:
    """Look at all slices of a direction; across thick slices, in pixels that are square."""
    times = 1 if along == "z" else rows_for_square(view)

    def opened(number: int) -> Scene:
        plane = at_plane(view, view.t, number)
        return plane if times == 1 else squared(plane, times)

    looked = look_at_slices(opened, view.planes, folder, sam, name=along, **asked)
    if times == 1:
        return looked

    def thick(number: int) -> Slice:
        found = looked.slices[number]
        labels = found.labels[times // 2 :: times]
        return Slice.of(labels, dict(enumerate(found.predicted_ious.tolist(), 1)))

    return replace(looked, slices=Kept(thick, view.planes))


def _agreed(
    folder: Path, found: Mapping[Along, tuple[Any, JoinedVolume]]
) -> tuple[Any, JoinedVolume]:
    """Write what directions agree about."""
    directions = tuple(labels for labels, _ in found.values())
    volumes = [joined for _, joined in found.values()]
    agreement = agree(directions, tuple(joined.count for joined in volumes))
    labels = new_labels(folder / "agreed.zarr", directions[0].shape)
    measures = Measures.of(agreement.count)
    write_slices(labels, measures.counted(voted(directions, agreement)), "z")
    sums, weights = np.zeros(agreement.count + 1), np.zeros(agreement.count + 1)
    for joined, numbers, size in zip(volumes, agreement.numbers, agreement.volumes, strict=True):
        np.add.at(sums, numbers, joined.predicted_ious * size)
        np.add.at(weights, numbers, size)
    ious = sums / np.maximum(weights, 1)
    return labels, JoinedVolume(agreement.count, volumes[0].of_slices, ious, measures)


def _rows(joined: JoinedVolume, kept: np.ndarray, scene: Scene) -> Iterator[dict[str, Any]]:
    """Give what is known of each object."""
    voxel, size = voxel_volume(scene), scene.pixel_size
    measures = joined.measures
    for number, label in enumerate(kept.tolist(), 1):
        volume = int(measures.volumes[label])
        z, row, col = (measures.sums[label] / volume).tolist()
        yield {
            "id": number,
            "volume_voxels": volume,
            "volume": None if voxel is None else volume * voxel,
            "volume_unit": None if voxel is None or size is None else f"{size.unit}3",
            "z0": int(measures.low[label]),
            "z1": int(measures.high[label]),
            "slices": int(measures.slices[label]),
            "centroid_z": z,
            "centroid_row": row,
            "centroid_col": col,
            "predicted_iou": float(joined.predicted_ious[label]),
            "source": "everything",
        }
