"""SA-1B's layout: beside each image a JSON file of the same name with its masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from napari_sam.errors import InputError
from napari_sam.finetune.coco import objects_from_annotations, read_json
from napari_sam.finetune.folders import IMAGE_SUFFIXES
from napari_sam.finetune.stored import ImageFiles
from src_model.training.pictures import ObjectMasks

__all__ = ["Sa1bPictures", "is_sa1b", "open_sa1b"]


class Sa1bPictures(ImageFiles):
    """Images with a JSON file each; see `open_sa1b`."""

    def __init__(self, folder: Path, images: Mapping[str, Path], stems: Sequence[str]) -> None:
        self._folder, self._images, self._stems = folder, dict(images), tuple(stems)

    def __len__(self) -> int:
        return len(self._stems)

    def name(self, index: int) -> str:
        """Return the name that image and JSON share."""
        return self._stems[index]

    def image_path(self, index: int) -> Path:
        """Return where the image is."""
        stem = self._stems[index]
        if stem not in self._images:
            raise InputError(f"{stem}: there is no image of this name in {self._folder}.")
        return self._images[stem]

    def read_objects(self, index: int) -> ObjectMasks:
        """Decode the masks of the JSON file."""
        path = self._folder / f"{self._stems[index]}.json"
        content = read_json(path)
        try:
            shape = int(content["image"]["height"]), int(content["image"]["width"])
            annotations = [dict(annotation) for annotation in content["annotations"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} is not a file of SA-1B: 'image' with height and width and a list of "
                "'annotations' are needed."
            ) from error
        return objects_from_annotations(annotations, shape, path.name)


def open_sa1b(folder: Path) -> Sa1bPictures:
    """Open a folder of ``sa_N.jpg`` and ``sa_N.json``.

    Parameters
    ----------
    folder : Path
        Any names will do where image and JSON have the same. ``annotations`` in the JSON are as
        COCO's.

    Returns
    -------
    Sa1bPictures
        In the order of the names. A file without partner is a picture that cannot be read.

    Raises
    ------
    InputError
        If the folder is missing or holds no such pair.

    References
    ----------
    .. [1] https://github.com/facebookresearch/segment-anything#dataset
    """
    if not is_sa1b(folder):
        raise InputError(
            f"{folder} is not a folder with pairs of an image and a JSON file of the same name."
        )
    images, annotated = _stems(folder)
    return Sa1bPictures(folder, images, sorted(annotated.union(images)))


def is_sa1b(folder: Path) -> bool:
    """Tell whether a folder holds an image and a JSON file of the same name."""
    if not folder.is_dir():
        return False
    images, annotated = _stems(folder)
    return not annotated.isdisjoint(images)


def _stems(folder: Path) -> tuple[dict[str, Path], set[str]]:
    """Return the images of a folder by their names, and the names of its JSON files."""
    visible = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    images = {path.stem: path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES}
    return images, {path.stem for path in visible if path.suffix == ".json"}
