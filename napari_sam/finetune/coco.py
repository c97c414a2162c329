"""Images with their objects in one COCO file."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from napari_sam.errors import InputError
from napari_sam.finetune.outlines import object_from_segmentation
from napari_sam.finetune.stored import ImageFiles
from src_model.training.pictures import ObjectMask, ObjectMasks

__all__ = ["CocoPictures", "objects_from_annotations", "open_coco", "read_json"]


class CocoPictures(ImageFiles):
    """The images of a COCO file; see `open_coco`."""

    def __init__(
        self,
        paths: Sequence[Path],
        sizes: Sequence[tuple[int, int]],
        annotations: Sequence[Sequence[Mapping[str, Any]]],
        categories: Mapping[Any, str] = MappingProxyType({}),
    ) -> None:
        self._paths, self._sizes, self._annotations = tuple(paths), tuple(sizes), tuple(annotations)
        self._categories = dict(categories)

    def __len__(self) -> int:
        return len(self._paths)

    def name(self, index: int) -> str:
        """Return the image's file name."""
        return self._paths[index].name

    def image_path(self, index: int) -> Path:
        """Return where the image should be."""
        return self._paths[index]

    def read_objects(self, index: int) -> ObjectMasks:
        """Draw the outlines that are no crowds."""
        drawn = [item for _, item in self._drawn(index)]
        return ObjectMasks(self._sizes[index], tuple(drawn))

    def read_names(self, index: int) -> tuple[tuple[int, ...] | None, dict[int, str]]:
        """Return the annotations' ids, if they are whole numbers, and names of categories."""
        annotations = [annotation for annotation, _ in self._drawn(index)]
        ids = [one["id"] for one in annotations if isinstance(one.get("id"), int)]
        classes = {
            place: self._categories[category]
            for place, annotation in enumerate(annotations)
            if (category := annotation.get("category_id")) in self._categories
        }
        return tuple(ids) if len(ids) == len(annotations) else None, classes

    def _drawn(self, index: int) -> list[tuple[Mapping[str, Any], ObjectMask]]:
        return _drawn(self._annotations[index], self._sizes[index], self.name(index))


def open_coco(annotations: Path, images: Path) -> CocoPictures:
    """Open the images of a COCO file.

    Parameters
    ----------
    annotations : Path
        JSON with ``images`` and ``annotations`` whose segmentations are polygons or run lengths,
        compressed or not. Regions marked ``iscrowd`` are left out, as no single object is outlined.
    images : Path
        The folder that the images' ``file_name`` starts from.

    Returns
    -------
    CocoPictures
        In the order of the file; images without annotations are pictures without objects.

    Raises
    ------
    InputError
        If the file cannot be read, is not such a file, or the folder is missing.

    References
    ----------
    .. [1] https://cocodataset.org/#format-data
    """
    content = read_json(annotations)
    if not images.is_dir():
        raise InputError(f"{images} is not a folder; give the one with the images.")
    try:
        by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        for annotation in content["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        paths = [_find(images, str(entry["file_name"])) for entry in content["images"]]
        sizes = [(int(entry["height"]), int(entry["width"])) for entry in content["images"]]
        objects = [by_image.pop(entry["id"], []) for entry in content["images"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{annotations} is not a COCO file: 'images' with id, file_name, height and width, and "
            "'annotations' with image_id are needed."
        ) from error
    if by_image:
        raise InputError(
            f"{annotations} outlines objects on images that it does not list, first of all on "
            f"image_id {next(iter(by_image))}: add them to 'images'."
        )
    if not paths:
        raise InputError(f"{annotations} lists no images.")
    return CocoPictures(paths, sizes, objects, _categories(content.get("categories")))


def _categories(entries: Any) -> dict[Any, str]:
    """Return the names of categories by id; what is no category is left out."""
    found = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("id"), int) and entry.get("name"):
            found[entry["id"]] = str(entry["name"])
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises
    ------
    InputError
        If it is missing, damaged, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # also what is not text
        raise InputError(f"{path} is damaged or not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__} and not annotations.")
    return content


def objects_from_annotations(
    annotations: Sequence[Mapping[str, Any]], shape: tuple[int, int], name: str
) -> ObjectMasks:
    """Take the objects out of COCO annotations; crowds and empty outlines are left out.

    Parameters
    ----------
    annotations : sequence of mapping
        Each with a ``segmentation``.
    shape : (int, int)
        Height and width of the picture.
    name : str
        What messages call the picture.

    Raises
    ------
    InputError
        As `object_from_segmentation`.
    """
    return ObjectMasks(shape, tuple(item for _, item in _drawn(annotations, shape, name)))


def _drawn(
    annotations: Sequence[Mapping[str, Any]], shape: tuple[int, int], name: str
) -> list[tuple[Mapping[str, Any], ObjectMask]]:
    """Return the annotations that outline an object, each with it."""
    drawn = []
    for number, annotation in enumerate(annotations):
        if annotation.get("iscrowd"):
            continue
        label = f"{name}: annotation {annotation.get('id', number)}"
        found = object_from_segmentation(annotation.get("segmentation"), shape, label)
        if found is not None:
            drawn.append((annotation, found))
    return drawn


def _find(images: Path, file_name: str) -> Path:
    """Return where an image is: at its name, or at the last part of it (exports differ)."""
    path = images / file_name
    bare = images / Path(file_name.replace("\\", "/")).name
    return bare if bare.is_file() and not path.is_file() else path
