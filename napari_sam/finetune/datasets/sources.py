"""What people outlined, wherever it is: a session, labels of a scene, pictures on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.finetune.stored import ImageFiles, size_mismatch
from napari_sam.finetune.volumes import VolumePictures
from napari_sam.scenes.planes import at_plane
from napari_sam.sessions.importing import read_labels
from napari_sam.sessions.runs import Runs

from .places import Outlined, Place

if TYPE_CHECKING:
    from napari_sam.finetune.stored import StoredPictures
    from napari_sam.scene import Scene
    from napari_sam.session import Session

__all__ = ["Source", "from_labels", "from_pictures", "from_session"]

Plane = tuple[int, int]

Polygons = Sequence[np.ndarray]

_MOST_IDS = 1 << 32
"""Ids below it are kept in label maps as they are."""


@dataclass(frozen=True, eq=False)
class Source:
    """What one session, label image or folder contributes.

    Parameters
    ----------
    name : str
        What people call it.
    places : tuple of Place
        Planes or pictures.
    """

    name: str
    places: tuple[Place, ...]


def from_session(
    session: Session,
    *,
    finished: Polygons | Mapping[Plane, Polygons] | None = None,
    group: str | None = None,
) -> Source:
    """Take the objects of a session, of all its planes, as they are now.

    Parameters
    ----------
    session : Session
        It need not stay open.
    finished : sequence of (n, 2) array, or mapping of (t, z) to such, optional
        Polygons of (row, col) at level 0, in which every object is outlined: of the plane that is
        worked on, or by plane. By default nothing is said to be complete.
    group : str, optional
        The patient or folder that it belongs to; by default the image is a group by itself.

    Raises
    ------
    InputError
        If there are no objects, or a polygon has fewer than three corners.
    """
    scene = session.scene
    by_plane: dict[Plane, list[int]] = {}
    infos = {number: session.info(number) for number in session.ids}
    for number, info in infos.items():
        by_plane.setdefault(info.plane, []).append(number)
    if not by_plane:
        raise InputError(
            f"{scene.name} has no objects to learn from: accept or draw some in it first."
        )
    if not isinstance(finished, Mapping):
        finished = {session.plane: finished or ()}
    where, planes, places = _where(scene), session.planes, []
    for plane, numbers in sorted(by_plane.items()):
        outlined = Outlined(
            tuple(numbers),
            tuple(session.mask(number) for number in numbers),
            {n: name for n in numbers if (name := infos[n].class_name) is not None},
        )
        shown = scene if plane == session.plane else _plane(scene, plane, planes[plane])
        several = plane if "T" in scene.axes or "Z" in scene.axes else None
        polygons = _checked(finished.get(plane, ()))
        places.append(_place(shown, "session", where, group, several, polygons, outlined))
    return Source(scene.name, tuple(places))


def from_labels(
    scene: Scene,
    labels: Any,
    *,
    finished: Polygons | None = None,
    group: str | None = None,
) -> Source:
    """Take the objects of a label image that belongs to a plane of a scene.

    Parameters
    ----------
    scene : Scene
        The plane.
    labels : array, path or zarr
        Integers (row, col) of the scene's size, 0 where there is nothing.
    finished : sequence of (n, 2) array, optional
        Polygons of (row, col) at level 0, in which every object is labelled; by default all are,
        everywhere.
    group : str, optional
        As for `from_session`.

    Raises
    ------
    InputError
        If they are no such labels, there is no object, or a polygon has fewer than three corners.
    """
    found = read_labels(labels, scene.shape)
    if not found:
        raise InputError(f"The labels of {scene.name} hold no object: label some first.")
    if found[-1][0] >= _MOST_IDS:  # more than label maps hold: they are numbered anew
        found = [(number, runs) for number, (_, runs) in enumerate(found, start=1)]
    outlined = Outlined(tuple(number for number, _ in found), tuple(runs for _, runs in found))
    several = (scene.t, scene.z) if "T" in scene.axes or "Z" in scene.axes else None
    polygons = None if finished is None else _checked(finished)
    place = _place(scene, "labels", _where(scene), group, several, polygons, outlined)
    return Source(scene.name, (place,))


def from_pictures(
    pictures: StoredPictures, *, group_of: Callable[[str], str] | None = None
) -> Source:
    """Take pictures on disk, in which every object is outlined.

    Parameters
    ----------
    pictures : StoredPictures
        What `open_pictures` gives. They are read when the dataset is built.
    group_of : callable, optional
        Returns the patient or folder of a picture by its name; by default each picture is a group
        by itself.

    Raises
    ------
    InputError
        If there is no picture, or one that cannot be read.
    """
    places = []
    for index in range(len(pictures)):
        name, where = pictures.name(index), _where_stored(pictures, index)
        places.append(
            Place(
                name=name,
                kind="picture",
                where=where,
                group=where if group_of is None else group_of(name),
                plane=None,
                shape=pictures.image_size(index),
                pixel_size=None,
                finished=None,
                open=partial(_picture_scene, pictures, index),
                outlined=partial(_picture_objects, pictures, index),
            )
        )
    if not places:
        raise InputError("There are no pictures to learn from: give a folder that holds some.")
    return Source(places[0].name if len(places) == 1 else f"{len(places)} pictures", tuple(places))


def _place(
    scene: Scene,
    kind: str,
    where: str,
    group: str | None,
    plane: Plane | None,
    finished: Polygons | None,
    outlined: Outlined,
) -> Place:
    return Place(
        name=scene.name,
        kind=kind,
        where=where,
        group=where if group is None else group,
        plane=plane,
        shape=scene.shape,
        pixel_size=scene.pixel_size,
        finished=finished,
        open=lambda: scene,
        outlined=lambda: outlined,
    )


def _where(scene: Scene) -> str:
    """Name what a scene shows: its file, or for an array its pixels at the first plane."""
    from napari_sam.scene import Normalisation, fingerprint

    if scene._file is not None or "://" in scene.name:
        return scene.name if scene._file is None else str(scene._file.resolve())
    zeros = (0.0,) * len(scene.channels)
    return fingerprint(at_plane(scene, 0, 0, Normalisation("as_is", zeros, zeros)))


def _where_stored(pictures: StoredPictures, index: int) -> str:
    """Name what a picture shows: its file; slices of one volume show the same things."""
    if isinstance(pictures, VolumePictures):
        return f"volume of {pictures.name(0)}"
    if isinstance(pictures, ImageFiles):
        return str(pictures.image_path(index).resolve())
    return pictures.name(index)


def _plane(scene: Scene, plane: Plane, info: Any) -> Scene:
    """Open another plane of a session as it was worked on."""
    from napari_sam.scene import Normalisation

    return at_plane(scene, *plane, Normalisation.from_dict(info.normalisation))


def _checked(polygons: Polygons) -> tuple[np.ndarray, ...]:
    found = tuple(np.asarray(one, float) for one in polygons)
    for one in found:
        if one.ndim != 2 or one.shape[1] != 2 or len(one) < 3 or not np.isfinite(one).all():
            raise InputError(
                "A finished region must be a polygon of three or more corners, (row, col): draw "
                "it again."
            )
    return found


def _picture_scene(pictures: StoredPictures, index: int) -> Scene:
    from napari_sam.scene import open_scene

    return open_scene(pictures.read_image(index), axes="YXS")


def _picture_objects(pictures: StoredPictures, index: int) -> Outlined:
    objects = pictures.read_objects(index)
    size = pictures.image_size(index)
    if objects.shape != size:
        raise InputError(f"{pictures.name(index)}: {size_mismatch(size, objects.shape)}.")
    runs = [Runs.of_mask(item.mask, item.top, item.left) for item in objects.items]
    ids, named = pictures.read_names(index)
    if ids is None or len(set(ids)) != len(runs) or not all(0 < one < _MOST_IDS for one in ids):
        ids = tuple(range(1, len(runs) + 1))
    order = sorted(range(len(runs)), key=lambda place: ids[place])
    classes = {ids[place]: name for place, name in named.items()}
    return Outlined(
        tuple(ids[place] for place in order), tuple(runs[place] for place in order), classes
    )
