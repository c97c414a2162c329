"""Pictures that come with the package, to see what a model has forgotten."""

from importlib.resources import files
from pathlib import Path

from napari_sam.finetune.data import open_pictures
from napari_sam.finetune.stored import StoredPictures

__all__ = ["default_validation"]


def default_validation() -> StoredPictures:
    """Open twelve pictures of nuclei of several kinds, which are never to be trained on.

    See ``samples/validation/README.md`` for where they are from.

    Examples
    --------
    >>> len(default_validation())
    12
    """
    folder = Path(str(files("napari_sam"))) / "samples" / "validation"
    return open_pictures(folder / "images", folder / "labels")
