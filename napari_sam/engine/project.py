"""A project: a folder with the images, the base model, and what became of each round.

project.json    the images, by path from here, and the base model
hold-out.json   what no round learns from; chosen at the first training and never changed
hold-out/       its pictures, with their truth
rounds/001/     see `rounds`
lock            while a command works on it
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

import napari_sam
from napari_sam.errors import InputError
from napari_sam.finetune.folders import IMAGE_SUFFIXES
from napari_sam.live.folders import short_name
from napari_sam.live.picture import Picture
from napari_sam.tiles.regions import Region

from .rounds import Round
from .saved import damaged, read_saved, write_saved

__all__ = ["Project", "ProjectImage", "find_images"]

_FILE = "project.json"


@dataclass(frozen=True)
class ProjectImage:
    """An image of a project.

    Parameters
    ----------
    key : str
        What it is called in the project; no two have the same, and it is part of file names.
    number : int
        Its place in the project, from 1; it never changes.
    where : str
        Its path from here, or a URL.
    """

    key: str
    number: int
    where: str

    @property
    def picture(self) -> Picture:
        """What is needed to open it."""
        return Picture.of(self.where)


class Project:
    """The folder of a project; made by `create` or `open`.

    Attributes
    ----------
    folder : Path
        Where it is.
    base : str
        The model that every round is trained from: a name or file, as `napari_sam.loading.load`
        takes it.
    images : tuple of ProjectImage
        In the order in which they were added.
    """

    def __init__(self, folder: Path, base: str, images: tuple[ProjectImage, ...]) -> None:
        self.folder, self.base, self.images = folder, base, images

    @classmethod
    def create(cls, folder: Path, images: Sequence[str], base: str) -> Self:
        """Begin a project, or add images to the one that is there.

        Parameters
        ----------
        folder : Path
            Of the project; it is made.
        images : sequence of str
            Files of images, OME-Zarr folders, or URLs; those that it has already are no second
            time added.
        base : str
            The model to begin with.

        Raises
        ------
        InputError
            If there are no images, one is not there, the folder cannot be written, or holds a
            project with another base.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be made ({error.strerror or error}).") from error
        there = (folder / _FILE).exists()
        if not there and any(path.name != "lock" for path in folder.iterdir()):
            raise InputError(f"{folder} is no project and not empty: choose another name.")
        project = cls.open(folder) if there else cls(folder.absolute(), base, ())
        if project.base != base:
            raise InputError(
                f"{folder} is a project with the base {project.base}: add images to it with that "
                f"base, or begin another project with {base}."
            )
        with project.working():
            project._add(images)
        return project

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open a project.

        Raises
        ------
        InputError
            If there is none, or it is damaged or of an unknown version.
        """
        path = folder.absolute() / _FILE
        saved = read_saved(path)
        if saved is None:
            raise InputError(
                f"{folder} is no project: give the folder that `napari-sam engine init` made."
            )
        try:
            images = tuple(
                ProjectImage(str(image["key"]), number, _there(folder.absolute(), image["path"]))
                for number, image in enumerate(saved["images"], 1)
            )
            return cls(folder.absolute(), str(saved["base"]), images)
        except (KeyError, TypeError, AttributeError) as error:
            raise damaged(path, f"{error} is missing or wrong") from error

    @property
    def name(self) -> str:
        """Its folder's, as part of the names of models."""
        return short_name(self.folder.name.replace(".", "-"))

    @property
    def rounds(self) -> list[Round]:
        """All rounds, the first one first."""
        try:
            found = sorted(int(path.name) for path in (self.folder / "rounds").glob("[0-9]*"))
        except ValueError as error:
            raise InputError(
                f"{self.folder / 'rounds'} holds something that is no round ({error}): remove it."
            ) from error
        return [self.round(number) for number in found]

    def round(self, number: int) -> Round:
        """Return one round, which need not exist yet."""
        return Round(number, self.folder / "rounds" / f"{number:03d}")

    def current(self) -> Round:
        """Return the last round, or the first if there is none yet."""
        rounds = self.rounds
        return rounds[-1] if rounds else self.round(1)

    def image(self, key: str) -> ProjectImage:
        """Return an image by its key.

        Raises
        ------
        InputError
            If there is none.
        """
        for image in self.images:
            if image.key == key:
                return image
        raise InputError(f"{self.folder} has no image {key}: add it with `napari-sam engine init`.")

    def finished(self, key: str) -> list[Region]:
        """Return where all objects of an image are outlined, as was said at imports."""
        found: list[Region] = []
        for one in self.rounds:
            imported = one.imported
            found += [] if imported is None else imported.finished.get(key, ())
        return list(dict.fromkeys(found))

    @property
    def held_out(self) -> dict[str, list[Region]]:
        """What no round learns from, by image: rectangles of level 0; empty before training."""
        folder = self.folder / "hold-out"
        if not folder.exists():
            return {}
        # Datasets need what trains networks, which is slow to import.
        from napari_sam.finetune.datasets import Dataset, held_out_regions

        return held_out_regions(Dataset.open(folder))

    @property
    def model(self) -> str:
        """The model to work with: of the last round that made a better one, else the base."""
        for one in reversed(self.rounds):
            figures = one.figures
            if figures is not None and figures.get("verdict") == "better" and figures.get("model"):
                return str(figures["model"])
        return self.base

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep other commands from changing the project meanwhile.

        Raises
        ------
        InputError
            If one does, or the folder cannot be written.
        """
        lock = FileLock(self.folder / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise InputError(
                f"Another command works on {self.folder}: wait until it has ended."
            ) from None
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be written ({error.strerror or error})."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _add(self, images: Sequence[str]) -> None:
        known = {image.where: image for image in self.images}
        keys = {image.key.casefold() for image in self.images}
        for image in images:
            where = image if "://" in image else str(Path(image).expanduser().absolute())
            if where in known:
                continue
            if "://" not in where and not Path(where).exists():
                raise InputError(f"{image}: there is no such image.")
            key = _new_key(where, keys)
            keys.add(key.casefold())
            known[where] = ProjectImage(key, len(known) + 1, where)
        if not known:
            raise InputError("A project needs images: give a folder or files with --images.")
        self.images = tuple(known.values())
        saved: dict[str, Any] = {
            "program": f"napari-sam-tiled {napari_sam.__version__}",
            "saved": round(time.time(), 3),
            "base": self.base,
            "images": [
                {"key": image.key, "path": _from_here(self.folder, image.where)}
                for image in self.images
            ],
        }
        write_saved(self.folder / _FILE, saved)


def find_images(given: Sequence[str]) -> list[str]:
    """Return the images that are meant: those of folders, and what else is given as it is.

    Parameters
    ----------
    given : sequence of str
        Folders of images, files, OME-Zarr folders, URLs.

    Raises
    ------
    InputError
        If a folder holds no image.
    """
    found: list[str] = []
    for one in given:
        folder = Path(one).expanduser()
        if "://" in one or not folder.is_dir() or folder.suffix == ".zarr":
            found.append(one)
            continue
        inside = [
            str(path)
            for path in sorted(folder.iterdir())
            if not path.name.startswith(".") and path.suffix.lower() in (*IMAGE_SUFFIXES, ".zarr")
        ]
        if not inside:
            raise InputError(f"{folder} holds no images: give their files, or another folder.")
        found += inside
    return found


def _new_key(where: str, taken: set[str]) -> str:
    stem = key = short_name(where.rstrip("/").rsplit("/", 1)[-1])
    number = 2
    while key.casefold() in taken:
        key, number = f"{stem}-{number}", number + 1
    return key


def _from_here(folder: Path, where: str) -> str:
    """Return a path from a project's folder, so that both can be moved together."""
    if "://" in where:
        return where
    try:
        return Path(os.path.relpath(where, folder)).as_posix()
    except ValueError:  # another drive
        return Path(where).as_posix()


def _there(folder: Path, saved: str) -> str:
    return saved if "://" in saved else os.path.normpath(folder / saved)
