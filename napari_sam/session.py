"""A Session: a scene, its objects and all that was done to them, saved as it goes."""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.pyramid import halved
from napari_sam.segment.objects import MaskLike
from napari_sam.sessions.asked import Asked
from napari_sam.sessions.editing import Editing
from napari_sam.sessions.events import SessionEvent, SessionWarning
from napari_sam.sessions.following import Following
from napari_sam.sessions.label_files import write_label_file
from napari_sam.sessions.lock import SessionInUse
from napari_sam.sessions.overlap import Overlap
from napari_sam.sessions.prompting import Prompting
from napari_sam.sessions.prompts import Plane, Prompts, Scribble
from napari_sam.sessions.records import ObjectInfo, Provenance
from napari_sam.sessions.runs import Runs
from napari_sam.sessions.script import write_script
from napari_sam.sessions.state import paint
from napari_sam.sessions.subject import SessionModel
from napari_sam.tiles.regions import Region

__all__ = [
    "Asked",
    "MaskLike",
    "ObjectInfo",
    "Overlap",
    "Prompts",
    "Provenance",
    "Runs",
    "Scribble",
    "Session",
    "SessionEvent",
    "SessionInUse",
    "SessionModel",
    "SessionWarning",
    "read_masks",
]


class Session(Prompting, Editing, Following):
    """Objects of a scene: prompted, accepted, drawn, changed; made by `create` or `open`.

    Each change is one step that can be undone and done again without limit, in whatever plane it
    was, also after the session was closed; a step costs what it changes, in memory and on disk. It
    is written before the method returns; see docs/session.md for what a crash can take away.

    Objects of a plane never share a pixel. Where a new mask meets others, `overlap` says what
    happens:

    - ``"keep_old"``: what belongs to another object stays with it, and the new one gets the rest;
    - ``"take_new"``: the pixels are taken from the others; one that loses all of its own is gone;
    - ``"cut"``: each pixel that both claim goes to the one whose undisputed part is nearer.

    All methods and properties may be used from any thread; one at a time changes the session.
    `candidates` lets others go on while the segmenter works.

    An object lies in one plane. Those of several planes that are one thing through depth or time
    are the slices of a track, and share class and colour. What `on_change` was given is called
    in the thread that made the change, after it, when other threads may change the session again.

    Examples
    --------
    >>> import tempfile
    >>> from napari_sam.scene import open_scene
    >>> from napari_sam.segment.scribbles import MaskRegion
    >>> scene = open_scene(np.zeros((6, 8), np.uint8))
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = Session.create(folder.name, scene)
    >>> session.add_object(MaskRegion(1, 1, np.ones((3, 4), bool)), class_name="cell")
    1
    >>> session.add_object(MaskRegion(2, 3, np.ones((3, 4), bool)), overlap="cut")
    2
    >>> session.labels()
    array([[0, 0, 0, 0, 0, 0, 0, 0],
           [0, 1, 1, 1, 1, 0, 0, 0],
           [0, 1, 1, 1, 1, 2, 2, 0],
           [0, 1, 1, 1, 2, 2, 2, 0],
           [0, 0, 0, 2, 2, 2, 2, 0],
           [0, 0, 0, 0, 0, 0, 0, 0]], dtype=uint32)
    >>> session.undo(), session.ids, session.redo(), session.ids
    (True, [1], True, [1, 2])
    >>> session.close()
    >>> folder.cleanup()
    """

    @property
    def ids(self) -> list[int]:
        """Of all objects, in all planes, ascending."""
        with self._lock:
            return sorted(self._state.objects)

    def info(self, object_id: int) -> ObjectInfo:
        """Return what is known of an object.

        Raises
        ------
        InputError
            If there is none.
        """
        with self._lock:
            return self._state.get(object_id).info

    def mask(self, object_id: int) -> Runs:
        """Return an object's pixels.

        Returns
        -------
        Runs
            With `row`, `col` and `mask` as every mask has them, `area` and `box`.

        Raises
        ------
        InputError
            If there is none.
        """
        with self._lock:
            return self._state.get(object_id).runs

    def labels(
        self, region: Region | None = None, level: int = 0, plane: Plane | None = None
    ) -> np.ndarray:
        """Paint a rectangle of a level; it costs what is in it, however large the scene is.

        Parameters
        ----------
        region : Region, optional
            In pixels of the level; by default all of it.
        level : int
            0 is full resolution. A pixel of a coarser one is the upper left of those it covers.
        plane : (int, int), optional
            (t, z); by default the one that is worked on.

        Returns
        -------
        ndarray
            uint32, of the region's shape: ids, 0 where there is no object.

        Raises
        ------
        ValueError
            If there is no such level, or the region reaches out of it.
        """
        if not 0 <= level < len(self.scene.levels):
            raise ValueError(
                f"{self.scene.name} has the levels 0 to {len(self.scene.levels) - 1}, no {level}"
            )
        whole = Region(0, 0, *halved(self.scene.shape, level))
        region = whole if region is None else region
        if region not in whole:
            raise ValueError(f"{region} reaches out of level {level}, which is {whole}")
        with self._lock:
            seen = self._state.seen(self.plane if plane is None else plane, region, level)
        return paint(*seen)

    def object_at(self, row: float, col: float, plane: Plane | None = None) -> int | None:
        """Return the object at a place of level 0, or None.

        Parameters
        ----------
        row, col : float
            Pixel centres lie at integers.
        plane : (int, int), optional
            (t, z); by default the one that is worked on.
        """
        place = int(np.floor(row + 0.5)), int(np.floor(col + 0.5))
        if min(place) < 0:
            return None
        with self._lock:
            return self._state.object_at(self.plane if plane is None else plane, *place)

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each object, by id.

        Returns
        -------
        list of dict
            `id`, `class`, `colour`, `t`, `z`, `area_px`, `row0`, `col0`, `row1`, `col1` (ends
            exclusive), `centroid_row`, `centroid_col`, `source`, `predicted_iou`, `stability`,
            `level`, `model`, `user`, `time`, `track`, `parent`, `confidence`; None where unknown.
        """
        with self._lock:
            placed = [self._state.objects[number] for number in sorted(self._state.objects)]
        return [_row(one.info, one.runs) for one in placed]

    def digest(self) -> str:
        """Return a hash of all ids and pixels: the same for the same labels."""
        digest = hashlib.sha256()
        with self._lock:
            for number, placed in sorted(self._state.objects.items()):
                digest.update(json.dumps([number, *placed.info.plane]).encode())
                digest.update(placed.runs.edges.astype("<i8").tobytes())
        return digest.hexdigest()[:32]

    def save_labels(
        self, path: str | os.PathLike[str], plane: Plane | Literal["all"] | None = None
    ) -> None:
        """Write the labels of a plane as they are now, block by block, or those of all planes.

        Parameters
        ----------
        path : path
            Ends in .tif or .tiff, a compressed uint32 TIFF, which is replaced when the new one is
            whole; or in .zarr, an OME-Zarr of labels with all levels, which must not exist. For
            all planes also in what `napari-sam convert` knows.
        plane : (int, int) or "all", optional
            (t, z); by default the one that is worked on. In the labels of all planes a thing of
            several planes has one number, its track.

        Raises
        ------
        InputError
            If the ending is another one, or it cannot be written.
        """
        if plane == "all":
            from napari_sam.files.formats import find_writer
            from napari_sam.sessions.volumes import labelled

            writer = find_writer(Path(path))
            writer.write(Path(path), labelled(self))
            return
        with self._lock:
            chosen, scene, state = plane or self.plane, self.scene, self._state.copy()
        paint_part = partial(state.paint, chosen)
        write_label_file(Path(path), scene.shape, paint_part, scene.pixel_size)

    def save_script(self, path: str | os.PathLike[str]) -> None:
        """Write a Python script that repeats the session headless and gives the same labels.

        Prompts are asked again of the same model; what was drawn, imported or found by other models
        is repeated by its pixels, from a file beside the script. What was undone is left out.

        Parameters
        ----------
        path : path
            Ends in .py; the masks go to the same name with .masks.json.

        Raises
        ------
        InputError
            If the ending is another one, it cannot be written, or the history is damaged.
        """
        with self._lock:
            write_script(Path(path), self._history.done(), self._planes, self._model, self.digest())


def read_masks(path: str | os.PathLike[str]) -> dict[str, dict[int, Runs]]:
    """Read the masks that `Session.save_script` wrote beside a script.

    Raises
    ------
    InputError
        If they are missing or damaged.
    """
    try:
        saved = json.loads(Path(path).read_bytes())
        return {
            name: {int(number): Runs.from_json(mask) for number, mask in masks.items()}
            for name, masks in saved.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read as the masks of a script ({error}).") from error


def _row(info: ObjectInfo, runs: Runs) -> dict[str, Any]:
    box, centroid, origin = runs.box, runs.centroid, info.provenance
    return {
        "id": info.id,
        "class": info.class_name,
        "colour": info.colour,
        "t": info.plane[0],
        "z": info.plane[1],
        "area_px": runs.area,
        "row0": box.row0,
        "col0": box.col0,
        "row1": box.row1,
        "col1": box.col1,
        "centroid_row": centroid[0],
        "centroid_col": centroid[1],
        "source": origin.source,
        "predicted_iou": origin.predicted_iou,
        "stability": origin.stability,
        "level": origin.level,
        "model": origin.model,
        "user": origin.user,
        "time": origin.time,
        "track": info.track,
        "parent": info.parent,
        "confidence": origin.confidence,
    }
