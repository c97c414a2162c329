"""The objects of all planes of a session as one label image, in which a thing has one number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.files.labelled import Labelled
from napari_sam.provenance import provenance
from napari_sam.scenes.lazy import Lazy
from napari_sam.scenes.lengths import cubic_millimetres
from napari_sam.tiles.regions import Region

from .prompts import Plane
from .state import Placed, State, paint

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from napari_sam.session import Session

__all__ = ["labelled", "lineage", "time_labels", "volume_labels"]


def volume_labels(session: Session, t: int = 0) -> Lazy:
    """Return the labels of a stack as they are now, painted plane by plane when they are read.

    Parameters
    ----------
    session : Session
        Of the image.
    t : int
        At which time.

    Returns
    -------
    Lazy
        uint32, (z, row, col): `ObjectInfo.track`, or the id of an object that has none.

    Examples
    --------
    >>> import tempfile
    >>> from napari_sam.scene import open_scene
    >>> from napari_sam.segment.scribbles import MaskRegion
    >>> from napari_sam.session import Session
    >>> from napari_sam.tiles.subjects import SceneInfo
    >>> stack = np.zeros((2, 3, 4), np.uint8)
    >>> below = {(0, 1): SceneInfo.of(open_scene(stack, axes="ZYX", z=1))}
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Session.create(folder.name, open_scene(stack, axes="ZYX")) as session:
    ...     number = session.add_object(MaskRegion(0, 1, np.ones((2, 2), bool)))
    ...     found = session.propagate(number, {(0, 1): MaskRegion(1, 1, np.ones((2, 2), bool))},
    ...                               below)
    ...     volume_labels(session)[:, 1]
    array([[0, 1, 1, 0],
           [0, 1, 1, 0]], dtype=uint32)
    >>> folder.cleanup()
    """
    return _painted(session.now(), session.scene, "ZYX", (t, 0))


def time_labels(session: Session, z: int = 0) -> Lazy:
    """Return the labels of a time series, likewise: uint32, (t, row, col).

    Parameters
    ----------
    session : Session
        Of the image.
    z : int
        At which depth.
    """
    return _painted(session.now(), session.scene, "TYX", (0, z))


def labelled(session: Session) -> Labelled:
    """Return all objects as they are now, as writers take them: of all planes, if there are any.

    A thing of several planes is one object with one row in the table. Of its slices that has
    `planes`, their number, `volume_px` and, where the scale is known, `volume_mm3` (or
    `mean_area_px` of what goes through time), `fixed_planes`, those a person answers for,
    `confidence`, the least of those that were propagated, and means of `predicted_iou` and
    `stability`.
    """
    state, scene, model = session.now(), session.scene, session.model
    several = {"T": scene.times > 1, "Z": scene.planes > 1}
    axes = "".join(axis for axis in "TZ" if several[axis]) + "YX"
    if axes == "YX":
        rows = [_plain(row) for row in session.table() if (row["t"], row["z"]) == session.plane]
    else:
        rows = [_row(number, there, scene) for number, there in sorted(_things(state).items())]
    said = provenance(
        scene.name, None if model is None else model.name, None if model is None else model.hash
    )
    painted = _painted(state, scene, axes, (scene.t, scene.z))
    return Labelled(scene, painted, axes, tuple(rows), said)


def lineage(session: Session) -> np.ndarray:
    """Return who is there when, and whom it divided from, as the Cell Tracking Challenge has it.

    Returns
    -------
    ndarray
        int64, (n, 4): number, first and last time, and the number of the parent, 0 for none; by
        number. ``np.savetxt("res_track.txt", lineage(session), "%d")`` is its file.
    """
    rows = []
    for number, slices in sorted(_things(session.now()).items()):
        times = [one.info.plane[0] for one in slices]
        rows.append((number, min(times), max(times), slices[0].info.parent or 0))
    return np.array(rows, np.int64).reshape(-1, 4)


def _painted(state: State, scene: Scene, axes: str, plane: Plane) -> Lazy:
    """Return labels along some axes, of a plane where there is no axis."""
    sizes = {"T": scene.times, "Z": scene.planes, "Y": scene.shape[0], "X": scene.shape[1]}
    thing = {number: placed.info.track or number for number, placed in state.objects.items()}

    def window(parts: tuple[slice, ...]) -> np.ndarray:
        at = dict(zip(axes, parts, strict=True))
        rows, cols = at["Y"], at["X"]
        region = Region(rows.start, cols.start, rows.stop, cols.stop)
        stack = np.zeros([part.stop - part.start for part in parts], np.uint32)
        flat = stack.reshape(-1, *region.shape)
        times, depths = (
            range(at[axis].start, at[axis].stop) if axis in at else [plane[index]]
            for index, axis in enumerate("TZ")
        )
        for number, here in enumerate((t, z) for t in times for z in depths):
            seen = [(thing[one], runs) for one, runs in state.near(here, region)]
            flat[number] = paint(seen, region, 0)
        return stack

    return Lazy(tuple(sizes[axis] for axis in axes), np.dtype(np.uint32), window)


def _things(state: State) -> dict[int, list[Placed]]:
    """Return the slices of each thing, by plane; what has no track is one by itself."""
    found: dict[int, list[Placed]] = {}
    for number, placed in sorted(state.objects.items(), key=lambda item: item[1].info.plane):
        found.setdefault(placed.info.track or number, []).append(placed)
    return found


def _row(number: int, slices: list[Placed], scene: Scene) -> dict[str, Any]:
    infos = [one.info for one in slices]
    origins = [info.provenance for info in infos]
    pixels = sum(one.runs.area for one in slices)
    times, depths = ({info.plane[axis] for info in infos} for axis in (0, 1))
    size: dict[str, float | None] = {"volume_px": pixels, "volume_mm3": _volume(pixels, scene)}
    if len(times) > 1:
        size = {"mean_area_px": pixels / len(times)}
    newest = max(origins, key=lambda origin: origin.time)
    return _plain(
        {
            "id": number,
            "class": infos[0].class_name,
            "colour": infos[0].colour,
            "parent": infos[0].parent,
            "planes": len(slices),
            "t0": min(times),
            "t1": max(times),
            "z0": min(depths),
            "z1": max(depths),
            **size,
            "fixed_planes": sum(info.is_fixed for info in infos),
            "source": "+".join(sorted({origin.source for origin in origins})),
            "predicted_iou": _mean([origin.predicted_iou for origin in origins]),
            "stability": _mean([origin.stability for origin in origins]),
            "confidence": min(
                (one.confidence for one in origins if one.confidence is not None), default=None
            ),
            "model": next((origin.model for origin in origins if origin.model), None),
            "user": newest.user,
            "time": newest.time,
        }
    )


def _volume(pixels: int, scene: Scene) -> float | None:
    if scene.pixel_size is None or scene.depth is None:
        return None
    cube = cubic_millimetres(scene.pixel_size.unit)
    if cube is None:
        return None
    return pixels * scene.pixel_size.rows * scene.pixel_size.cols * scene.depth * cube


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is unknown."""
    return {name: value for name, value in row.items() if value is not None}
