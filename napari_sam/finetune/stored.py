"""What all training data on disk have in common."""

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.images import read_image, to_rgb_uint8
from napari_sam.finetune.image_sizes import image_size
from src_model.training.pictures import ObjectMasks, Picture

__all__ = ["ImageFiles", "StoredPictures", "size_mismatch"]


class StoredPictures(ABC):
    """Pictures with outlined objects, read from disk when asked for.

    A picture that cannot be used raises `InputError` when it is read; none is left out silently.
    `check_pictures` finds all of them beforehand. Copies can be used in several processes at once.

    Attributes
    ----------
    notes : tuple of str
        Sentences about the whole collection that a person should read before training.
    """

    notes: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Count the pictures."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Say what to call a picture in messages; IndexError beyond the last one."""

    @abstractmethod
    def image_size(self, index: int) -> tuple[int, int]:
        """Return height and width of an image, from its header if that is enough.

        Raises
        ------
        InputError
            If the file is missing, damaged, or not a picture.
        """

    @abstractmethod
    def read_image(self, index: int) -> np.ndarray:
        """Read an image as (H, W, 3) uint8 RGB; other bit depths are stretched.

        Raises
        ------
        InputError
            If the file is missing, damaged, or not a picture.
        """

    @abstractmethod
    def read_objects(self, index: int) -> ObjectMasks:
        """Read the objects outlined in a picture.

        Raises
        ------
        InputError
            If they are missing, damaged, or not what they should be.
        """

    def read_names(self, index: int) -> tuple[tuple[int, ...] | None, dict[int, str]]:
        """Say how the file calls the objects of a picture.

        Returns
        -------
        ids : tuple of int or None
            In the order of `read_objects`; None if it has no numbers for them.
        classes : dict of int to str
            What they are, by place in that order, as far as it says so.

        Raises
        ------
        InputError
            As `read_objects`.
        """
        return None, {}

    def __getitem__(self, index: int) -> Picture:
        """Read a picture; objects of one pixel, which are slips of the hand, are left out of it.

        Raises
        ------
        InputError
            If it cannot be used.
        """
        name = self.name(index)
        image = self.read_image(index)
        objects = self.read_objects(index)
        if objects.shape != image.shape[:2]:
            raise InputError(f"{name}: {size_mismatch(image.shape, objects.shape)}.")
        items = tuple(item for item in objects.items if item.area > 1)
        return Picture(name, image, replace(objects, items=items))


class ImageFiles(StoredPictures):
    """Pictures of which each image is a file of its own."""

    @abstractmethod
    def image_path(self, index: int) -> Path:
        """Return where an image is.

        Raises
        ------
        InputError
            If there is none.
        """

    def image_size(self, index: int) -> tuple[int, int]:
        """Return height and width of an image, and find most damage to its file."""
        return image_size(self.image_path(index))

    def read_image(self, index: int) -> np.ndarray:
        """Read an image as (H, W, 3) uint8 RGB, as `napari-sam segment` does."""
        return to_rgb_uint8(read_image(self.image_path(index)))


def size_mismatch(image: tuple[int, ...], objects: tuple[int, int]) -> str:
    """Say that objects were outlined on another size than the image has.

    Parameters
    ----------
    image : tuple of int
        Height, width, and perhaps channels.
    objects : (int, int)
        Height and width.

    Examples
    --------
    >>> size_mismatch((20, 30, 3), (10, 15))
    'the image has 20 rows and 30 columns, its objects are outlined on 10 and 15'
    """
    return (
        f"the image has {image[0]} rows and {image[1]} columns, its objects are outlined on "
        f"{objects[0]} and {objects[1]}"
    )
