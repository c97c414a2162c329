"""Everything in each slice of a volume, one after the other; what is done is done.

Each slice has a store of embeddings of its own, in which its raw candidates stay: for other
thresholds the network is not needed again. What was chosen of them lies beside, as labels.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.errors import InputError
from napari_sam.segment.everything import Thresholds, segment_everything
from napari_sam.segment.everything.found import FoundObjects
from napari_sam.segment.everything.label_pyramid import paint
from napari_sam.segment.everything.packing import Damaged
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import EmbeddingStore, Failure, ModelInfo, SceneInfo

from .slices import Kept, Slice

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["Looked", "SliceSizes", "look_at_slices"]

SliceSizes = tuple[float | None, float | None]


@dataclass(frozen=True, eq=False)
class Looked:
    """What became of the slices of one direction.

    Parameters
    ----------
    slices : Kept
        Read when asked for.
    left : int
        Slices that were not looked at, because it was asked to stop.
    failed : tuple of (int, Failure)
        Slices and their tiles in which nothing could be found.
    seconds : tuple of float
        For each slice that the network looked at.
    """

    slices: Kept
    left: int
    failed: tuple[tuple[int, Failure], ...]
    seconds: tuple[float, ...]


def look_at_slices(
    open_slice: Callable[[int], Scene],
    count: int,
    folder: Path,
    sam: Sam,
    *,
    name: str = "z",
    sizes: SliceSizes = (None, None),
    unit: str = "px",
    thresholds: Thresholds | None = None,
    on_slice: Callable[[int, float | None], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Looked:
    """Find everything in each slice.

    Parameters
    ----------
    open_slice : callable
        Takes the number of a slice and returns its Scene; all have the same shape.
    count : int
        How many slices there are.
    folder : Path
        Where stores and labels lie; created if absent.
    sam : Sam
        The network.
    name : str
        What names of files begin with.
    sizes, unit
        Of the largest slice of an object, as `segment_everything` takes them: smaller slices of it
        are kept.
    thresholds : Thresholds, optional
        By default those of the model, without objects in others.
    on_slice : callable, optional
        Called after each slice with how many objects it has, and the seconds that it took, None
        where it was done before.
    should_stop : callable, optional
        Asked before every tile.

    Raises
    ------
    InputError
        If a store belongs to something else, or cannot be written.
    """
    model = ModelInfo.of(sam)
    seconds: list[float] = []
    failed: list[tuple[int, Failure]] = []
    unfinished: dict[int, Slice] = {}
    done = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror or error}).") from error
    abouts: dict[int, bytes] = {}
    for number in range(count):
        if should_stop is not None and should_stop():
            break
        scene = open_slice(number)
        about = _about(SceneInfo.of(scene), model, sizes, unit, thresholds)
        abouts[number] = about
        path = folder / f"{name}{number:05d}.slice"
        there = _read(path, about)
        taken = None
        if there is None:
            began = time.monotonic()
            store = _store(folder / f"{name}{number:05d}.embeddings", scene, sam, model)
            result = segment_everything(
                scene,
                store,
                sam,
                sizes=sizes,
                unit=unit,
                retry_failed=True,
                should_stop=should_stop,
            )
            if result.left:
                break
            everything = result.everything
            largest = everything.settings.sizes[1]
            there = _painted(
                everything.filter(thresholds, smallest=None, largest=largest, nested=False)
            )
            failed += [(number, failure) for failure in result.failed]
            if result.failed:
                unfinished[number] = there  # the next call tries again
            else:
                _write(path, there.to_bytes(about))
            if result.done:
                taken = time.monotonic() - began
                seconds.append(taken)
        done += 1
        if on_slice is not None:
            on_slice(len(there), taken)

    def read(number: int) -> Slice:
        if number in unfinished:
            return unfinished[number]
        found = _read(folder / f"{name}{number:05d}.slice", abouts[number])
        if found is None:
            raise InputError(
                f"Slice {number} in {folder} was removed or changed meanwhile: call it again."
            )
        return found

    return Looked(Kept(read, count), count - done, tuple(failed), tuple(seconds))


def _painted(objects: FoundObjects) -> Slice:
    """Paint the objects of a slice; smaller ones lie in front."""
    labels = paint(objects, Region(0, 0, *objects.shape))
    return Slice.of(labels, dict(enumerate(objects.predicted_ious.tolist(), 1)))


def _store(path: Path, scene: Scene, sam: Sam, model: ModelInfo) -> EmbeddingStore:
    """Open the store of a slice, or make it."""
    if path.exists() and any(path.iterdir()):
        return EmbeddingStore.open(path)
    size = sam.variant.image_size
    geometry = TileGeometry(scene.shape, size, size // 8)
    return EmbeddingStore.create(path, SceneInfo.of(scene), model, geometry)


def _about(
    scene: SceneInfo, model: ModelInfo, sizes: SliceSizes, unit: str, thresholds: Thresholds | None
) -> bytes:
    """Return what tells apart what was found in other pixels, or asked for otherwise."""
    told = (scene.fingerprint, scene.t, scene.z, model.hash, sizes, unit, thresholds)
    return hashlib.sha256(repr(told).encode()).digest()


def _read(path: Path, about: bytes) -> Slice | None:
    """Return a slice that is there; None if it is not, is damaged, or is of something else."""
    try:
        return Slice.from_bytes(path.read_bytes(), about)
    except (FileNotFoundError, Damaged):
        return None


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}).") from error
    finally:
        part.unlink(missing_ok=True)
