"""A folder of images and a folder of label maps of the same names."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.finetune.label_maps import (
    LABEL_SUFFIXES,
    Instances,
    objects_from_labels,
    read_labels,
)
from napari_sam.finetune.stored import ImageFiles
from src_model.training.pictures import ObjectMasks, Picture

__all__ = ["IMAGE_SUFFIXES", "FolderPictures", "ImageFolder", "open_folder", "open_images"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")
"""Files of a folder that are taken for images; others are ignored."""

LABEL_ENDINGS = ("_labels", "_label", "_masks", "_mask")
"""What a label map's name may have after the image's; `napari-sam segment` writes ``_labels``."""


@dataclass(frozen=True)
class _Pair:
    """The files of one name; a pair if there is one of each."""

    stem: str
    images: tuple[Path, ...]
    labels: tuple[Path, ...]


class FolderPictures(ImageFiles):
    """Images with label maps; see `open_folder`."""

    def __init__(self, pairs: Iterable[_Pair], places: tuple[Path, Path], instances: Instances):
        self._pairs = tuple(pairs)
        self._places, self._instances = places, instances

    def __len__(self) -> int:
        return len(self._pairs)

    def name(self, index: int) -> str:
        """Return the image's file name."""
        pair = self._pairs[index]
        return (pair.images or pair.labels)[0].name

    def image_path(self, index: int) -> Path:
        """Return the one image of a name."""
        pair = self._pairs[index]
        return self._only(pair, pair.images, "image", self._places[0])

    def read_objects(self, index: int) -> ObjectMasks:
        """Read the label map."""
        pair = self._pairs[index]
        path = self._only(pair, pair.labels, "label map", self._places[1])
        return objects_from_labels(read_labels(path), self._instances)

    def read_names(self, index: int) -> tuple[tuple[int, ...] | None, dict[int, str]]:
        """Return the numbers in the label map, unless regions of one are several objects."""
        if self._instances != "ids":
            return None, {}
        pair = self._pairs[index]
        labels = read_labels(self._only(pair, pair.labels, "label map", self._places[1]))
        return tuple(np.unique(labels[labels > 0]).tolist()), {}

    @staticmethod
    def _only(pair: _Pair, paths: tuple[Path, ...], what: str, place: Path) -> Path:
        if len(paths) == 1:
            return paths[0]
        if paths:
            names = " and ".join(path.name for path in paths)
            raise InputError(f"{pair.stem}: {names} in {place} are both its {what}; keep one.")
        raise InputError(f"{pair.stem}: there is no {what} of this name in {place}.")


class ImageFolder(ImageFiles):
    """Images without objects; see `open_images`."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        """Return the image's file name."""
        return self._paths[index].name

    def image_path(self, index: int) -> Path:
        """Return where the image is."""
        return self._paths[index]

    def read_objects(self, index: int) -> ObjectMasks:
        """Return no objects."""
        return ObjectMasks(self.image_size(index), ())

    def __getitem__(self, index: int) -> Picture:
        """Read an image."""
        image = self.read_image(index)  # once: its size need not be looked up
        return Picture(self.name(index), image, ObjectMasks((image.shape[0], image.shape[1]), ()))


def open_folder(images: Path, labels: Path, instances: Instances = "ids") -> FolderPictures:
    """Open images and label maps of the same names, in two folders or in one.

    Parameters
    ----------
    images, labels : Path
        Folders, or two files. Files belong together if their names without suffix are the same,
        or the label map's has ``_labels``, ``_label``, ``_masks`` or ``_mask`` added to it.
        Images may have any bit depth (`to_rgb_uint8`); label maps are as `read_labels` takes them.
    instances : {"ids", "components"}
        What one object is; see `objects_from_labels`.

    Returns
    -------
    FolderPictures
        In the order of the names. A file without partner is a picture that cannot be read.

    Raises
    ------
    InputError
        If a folder is missing or holds no images or no label maps.
    """
    if images.is_file() and labels.is_file():
        pair = _Pair(images.stem, (images,), (labels,))
        return FolderPictures([pair], (images.parent, labels.parent), instances)
    image_files = _files(images, IMAGE_SUFFIXES, "images")
    # A JPEG among the label maps is a mistake to be told, not to be overlooked.
    label_files = _files(labels, (*LABEL_SUFFIXES, ".jpg", ".jpeg"), "label maps")
    if images.resolve() == labels.resolve():
        label_files = [path for path in label_files if _bare(path.stem) != path.stem]
        image_files = [path for path in image_files if path not in set(label_files)]
    by_stem: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for path in image_files:
        by_stem[path.stem][0].append(path)
    stems = set(by_stem)
    for path in label_files:
        # An image may itself be called x_mask: its own name goes before.
        stem = path.stem if path.stem in stems else _bare(path.stem)
        by_stem[stem][1].append(path)
    pairs = [_Pair(stem, tuple(a), tuple(b)) for stem, (a, b) in sorted(by_stem.items())]
    if not any(pair.images and pair.labels for pair in pairs):
        raise InputError(
            f"No image in {images} has a label map of the same name in {labels}: name them alike, "
            "e.g. cells.png and cells.tif."
        )
    return FolderPictures(pairs, (images, labels), instances)


def open_images(images: Path) -> ImageFolder:
    """Open images without objects, for pre-training.

    Parameters
    ----------
    images : Path
        A folder, or one file.

    Raises
    ------
    InputError
        If it is missing or holds no images.
    """
    if images.is_file():
        return ImageFolder([images])
    return ImageFolder(_files(images, IMAGE_SUFFIXES, "images"))


def _files(folder: Path, suffixes: tuple[str, ...], what: str) -> list[Path]:
    """Return the files of a folder with one of some suffixes, by name."""
    if not folder.is_dir():
        state = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {state}; give a folder of {what}.")
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        raise InputError(f"{folder} holds no {what} ({', '.join(suffixes)}).")
    return found


def _bare(stem: str) -> str:
    """Return a label map's name without its ending."""
    for ending in LABEL_ENDINGS:
        if stem.endswith(ending) and stem != ending:
            return stem.removesuffix(ending)
    return stem
