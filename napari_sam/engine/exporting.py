"""A project in formats that other programs read: SA-1B's layout, and COCO."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

import napari_sam
from napari_sam.errors import InputError
from napari_sam.files.coco_writing import coco_content
from napari_sam.segment.everything.object_table import read_table, table_mask
from napari_sam.session import ObjectInfo, Provenance, Runs, Session

from .exported import ExportedObject, Piece, annotation, pieces_of
from .importing import SessionOpener, opened_session
from .kinds import PEOPLE, kinds_of
from .project import Project, ProjectImage
from .saved import read_saved
from .sessions import sessions_of

__all__ = ["EXPORT_FORMATS", "ExportFormat", "Exported", "export_project"]

ExportFormat = Literal["sa1b", "coco"]

EXPORT_FORMATS: tuple[ExportFormat, ...] = ("sa1b", "coco")

_MARK = ".napari-sam-export"
"""In a folder that was exported, so that it may be replaced."""

_TOUCHING = 0.1
"""How much of a pseudo-label may belong to objects of the session."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    pictures, objects : int
        How many.
    """

    pictures: int
    objects: int


def export_project(
    project: Project,
    folder: Path,
    format_name: ExportFormat = "sa1b",
    *,
    automatic: bool = False,
    opener: SessionOpener = opened_session,
    on_progress: Callable[[str, int, int], object] | None = None,
) -> Exported:
    """Write pictures with the objects in them.

    Parameters
    ----------
    project : Project
        With the images and sessions.
    folder : Path
        New or empty, or an earlier export, which is replaced when the new one is whole.
    format_name : {"sa1b", "coco"}
        ``sa_N.jpg`` with ``sa_N.json``; or ``images/`` with ``annotations.json``.
    automatic : bool
        Also objects that the network found and nobody looked at, and the pseudo-labels of the last
        round that has some.
    opener : callable
        Opens a session.
    on_progress : callable, optional
        Told the image, how many are done, and of how many.

    Returns
    -------
    Exported

    Raises
    ------
    InputError
        If there is nothing to export, a session is open elsewhere, or the folder cannot be written.

    References
    ----------
    .. [1] https://github.com/facebookresearch/segment-anything#dataset
    .. [2] https://cocodataset.org/#format-data
    """
    sessions = sessions_of(project)
    pictures = objects = 0
    with _replaced(folder) as partial:
        writer = _Sa1bWriter(partial) if format_name == "sa1b" else _CocoWriter(partial)
        for done, image in enumerate(project.images):
            if on_progress is not None:
                on_progress(image.key, done, len(project.images))
            for piece, pixels in _pieces(
                project, image, sessions.get(image.key), automatic, opener
            ):
                writer.add(piece, pixels)
                pictures, objects = pictures + 1, objects + len(piece.objects)
        if not objects:
            raise InputError(
                f"{project.folder} has no objects to export: accept some, or export what the "
                f"network found with --automatic."
            )
        writer.end()
        about = {"program": f"napari-sam-tiled {napari_sam.__version__}", "format": format_name}
        (partial / _MARK).write_text(json.dumps(about), encoding="utf-8")
    return Exported(pictures, objects)


class _Sa1bWriter:
    """Writes a picture and a JSON file for each piece."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, piece: Piece, pixels: np.ndarray) -> None:
        name = f"sa_{piece.number}"
        # SA-1B's pictures are JPEG; without subsampled colours borders stay where they are.
        Image.fromarray(pixels).save(self._folder / f"{name}.jpg", quality=95, subsampling=0)
        about = {"image_id": piece.number, "file_name": f"{name}.jpg", **piece.about()}
        content = {
            "image": about,
            "annotations": [annotation(piece, one) for one in piece.objects],
        }
        (self._folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")

    def end(self) -> None:
        """All is written."""


class _CocoWriter:
    """Writes a picture for each piece, and one file at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        (folder / "images").mkdir()

    def add(self, piece: Piece, pixels: np.ndarray) -> None:
        name = f"{piece.image.key}-{piece.number}.png"
        Image.fromarray(pixels).save(self._folder / "images" / name)
        self._images.append({"id": piece.number, "file_name": name, **piece.about()})
        for one in piece.objects:
            known = annotation(piece, one)
            score = known["predicted_iou"] * known["stability_score"]
            self._annotations.append(
                {**known, "image_id": piece.number, "iscrowd": 0, "score": round(score, 6)}
            )

    def end(self) -> None:
        content = coco_content(self._images, self._annotations)
        (self._folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")


def _pieces(
    project: Project,
    image: ProjectImage,
    folder: Path | None,
    automatic: bool,
    opener: SessionOpener,
) -> Iterator[tuple[Piece, np.ndarray]]:
    """Give the pieces of an image that show objects, and their pixels (row, col, 3) uint8."""
    pseudo = _pseudo_labels(project, image) if automatic else []
    if folder is None:
        if pseudo:
            scene = image.picture.open()
            for piece in pieces_of(image, scene.shape, _free(pseudo, [])):
                yield piece, scene.read_rgb(0, piece.region.rows, piece.region.cols)
        return
    with opener(folder, image) as session:
        objects = [
            ExportedObject(session.info(number), kind, session.mask(number))
            for number, kind in kinds_of(session).items()
            if automatic or kind in PEOPLE
        ]
        objects += _free(pseudo, objects, max([0, *session.ids]))
        for piece in pieces_of(image, session.scene.shape, objects):
            scene = _scene_at(image, session, piece.plane)
            yield piece, scene.read_rgb(0, piece.region.rows, piece.region.cols)


def _scene_at(image: ProjectImage, session: Session, plane: tuple[int, int]) -> Any:
    if plane == session.plane:
        return session.scene
    return image.picture.open(*plane, like=session.planes[plane])


def _pseudo_labels(project: Project, image: ProjectImage) -> list[ExportedObject]:
    """Read the pseudo-labels of an image, of the last round that has some; ids are those of it."""
    for one in reversed(project.rounds):
        path = one.folder / "prefilled" / f"{image.key}.parquet"
        if not path.exists():
            continue
        about = read_saved(path.with_name(f"{path.name}.json")) or {}
        found = []
        for row in read_table(path).to_pylist():
            runs = Runs.of_mask(table_mask(row), row["rle_row0"], row["rle_col0"])
            origin = Provenance(
                "found",
                path.stat().st_mtime,
                model=about.get("model"),
                predicted_iou=row["predicted_iou"],
                stability=row["stability"],
                level=row["level"],
            )
            info = ObjectInfo(int(row["id"]), (0, 0), origin)
            found.append(ExportedObject(info, "automatic", runs.scaled(row["level"])))
        return found
    return []


def _free(
    pseudo: Sequence[ExportedObject], objects: Sequence[ExportedObject], highest: int = 0
) -> list[ExportedObject]:
    """Return the pseudo-labels that are no objects yet, with ids after those of the objects."""
    taken = [one.runs for one in objects if one.info.plane == (0, 0)]
    free = []
    for one in pseudo:
        near = [other for other in taken if (other.box & one.runs.box).area]
        if sum((other & one.runs).area for other in near) <= _TOUCHING * one.runs.area:
            known = one.info
            info = ObjectInfo(highest + known.id, known.plane, known.provenance)
            free.append(ExportedObject(info, one.kind, one.runs))
    return free


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Lend a folder that takes the place of another when the block ends well."""
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder for the export.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise InputError(f"{folder} is not empty and no earlier export: choose another folder.")
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            old = folder.with_name(f"{partial.name}.old")
            os.replace(folder, old)
            os.replace(partial, folder)
            shutil.rmtree(old)
        else:
            os.replace(partial, folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
