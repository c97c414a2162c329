"""Open training data in whatever layout it comes."""

from pathlib import Path

from napari_sam.errors import InputError
from napari_sam.finetune.coco import open_coco
from napari_sam.finetune.folders import open_folder, open_images
from napari_sam.finetune.label_maps import Instances
from napari_sam.finetune.sa1b import is_sa1b, open_sa1b
from napari_sam.finetune.stored import StoredPictures
from napari_sam.finetune.volumes import is_zarr, open_volume

__all__ = ["open_coco", "open_folder", "open_images", "open_pictures", "open_sa1b", "open_volume"]

# Names of the two folders of a data set, of which the one above them may be given.
_IMAGE_FOLDERS = ("images", "image")
_LABEL_FOLDERS = ("labels", "label", "masks")


def open_pictures(
    images: Path,
    labels: Path | None = None,
    instances: Instances = "ids",
    axis: str | int | None = None,
) -> StoredPictures:
    """Open pictures with outlined objects; the layout is found from what is given.

    Parameters
    ----------
    images : Path
        A folder of images (or one image), a Zarr or OME-Zarr volume; or, without `labels`, a
        folder in SA-1B's layout, one with a COCO file among the images, one with folders
        ``images`` and ``labels`` (or ``masks``), or an OME-Zarr image with its labels inside.
    labels : Path, optional
        A folder of label maps (or one), a COCO JSON file, a Zarr or OME-Zarr label volume.
    instances : {"ids", "components"}
        What one object of a label map is: a number, or a connected region of one.
    axis : str or int, optional
        The axis along which a volume is cut into slices; see `open_volume`.

    Returns
    -------
    StoredPictures
        Pictures are read when asked for; see `check_pictures` for what may be wrong with them.

    Raises
    ------
    InputError
        If nothing usable is there.
    """
    images, labels = Path(images), None if labels is None else Path(labels)
    for path in (images, labels):
        if path is not None and not path.exists():
            raise InputError(f"{path}: there is no such file or folder.")
    if is_zarr(images):
        return open_volume(images, labels, axis, instances)
    if labels is None:
        return _open_one(images, instances)
    if is_zarr(labels):
        raise InputError(
            f"{labels} is a Zarr volume, but {images} is not: give both as volumes, or both as "
            "folders."
        )
    if labels.suffix.lower() == ".json":
        return open_coco(labels, images)
    return open_folder(images, labels, instances)


def _open_one(folder: Path, instances: Instances) -> StoredPictures:
    """Open a folder that holds images and objects."""
    if folder.is_dir():
        if is_sa1b(folder):
            return open_sa1b(folder)
        found = [
            [folder / name for name in names if (folder / name).is_dir()]
            for names in (_IMAGE_FOLDERS, _LABEL_FOLDERS)
        ]
        if all(found):
            return open_folder(found[0][0], found[1][0], instances)
        files = sorted(folder.glob("*.json"))
        if len(files) == 1:
            return open_coco(files[0], found[0][0] if found[0] else folder)
    raise InputError(
        f"No objects are outlined in {folder}: give label maps, a COCO file or a label volume too."
    )
