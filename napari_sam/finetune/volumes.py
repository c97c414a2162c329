"""Image and label volumes in Zarr, as pictures of their slices."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.images import stretch_limits, stretch_to_uint8, to_rgb_uint8
from napari_sam.files.zarr_images import ZarrImage, find_labels, is_zarr, open_zarr_image
from napari_sam.finetune.label_maps import Instances, check_labels, objects_from_labels
from napari_sam.finetune.stored import StoredPictures
from src_model.training.pictures import ObjectMasks

__all__ = ["VolumePictures", "is_zarr", "open_volume"]

# Slices whose values decide how a volume of more than 8 bits is stretched.
_STRETCHED_FROM = 8
# An axis without a name that the labels lack is taken for channels up to this length.
_MOST_CHANNELS = 4


class VolumePictures(StoredPictures):
    """The slices of a volume that have objects; see `open_volume`."""

    def __init__(
        self,
        image: ZarrImage,
        labels: ZarrImage,
        axes: tuple[tuple[str, ...], tuple[str, ...]],
        along: tuple[str, ...],
        instances: Instances,
    ) -> None:
        self._image, self._labels, self._instances = image, labels, instances
        self._name = Path(image.path).name
        self._image_axes, self._label_axes = axes
        self._along = along
        occupied = self._find_occupied()
        self._places = [tuple(place) for place in np.argwhere(occupied).tolist()]
        self._plane = tuple(
            axis for axis in self._image_axes if axis != "c" and axis not in self._along
        )
        empty = occupied.size - len(self._places)
        if empty and self._places:
            self.notes = (
                f"{self._name}: {empty} of {occupied.size} slices have no object and are left out.",
            )
        self._limits = self._find_limits()

    def __len__(self) -> int:
        return len(self._places)

    def name(self, index: int) -> str:
        """Return the volume's name and the slice's number."""
        where = zip(self._along, self._places[index], strict=True)
        return " ".join([self._name, *(f"{axis}={place}" for axis, place in where)])

    def image_size(self, index: int) -> tuple[int, int]:
        """Return height and width of a slice."""
        sizes = dict(zip(self._image_axes, self._image.array.shape, strict=True))
        return sizes[self._plane[0]], sizes[self._plane[1]]

    def read_image(self, index: int) -> np.ndarray:
        """Read a slice as (H, W, 3) uint8 RGB, stretched as all slices are."""
        plane = self._read_plane(index)
        if self._limits is not None:
            plane = stretch_to_uint8(plane, *self._limits)
        return to_rgb_uint8(plane)

    def read_objects(self, index: int) -> ObjectMasks:
        """Read the labels of a slice."""
        labels = self._read(self._labels, self._label_axes, self._places[index])
        labels = check_labels(labels, f"{self._labels.path} ({self.name(index)})")
        return objects_from_labels(labels, self._instances)

    def _read_plane(self, index: int) -> np.ndarray:
        """Return a slice of the image as stored, (row, col) or (row, col, channel)."""
        return self._read(self._image, self._image_axes, self._places[index])

    def _read(self, volume: ZarrImage, axes: tuple[str, ...], place: Sequence[int]) -> np.ndarray:
        fixed = dict(zip(self._along, place, strict=True))
        selection = tuple(fixed.get(axis, slice(None)) for axis in axes)
        try:
            plane = np.asarray(volume.array[selection])
        except Exception as error:  # a damaged chunk raises what its decoder raises
            raise InputError(f"{volume.path} is damaged at {fixed}.") from error
        left = [axis for axis in axes if axis not in fixed]
        order = [left.index(axis) for axis in (*self._plane, "c") if axis in left]
        return plane.transpose(order)

    def _find_occupied(self) -> np.ndarray:
        """Tell which slices have a label, an array over the axes that are cut along."""
        array, axes = self._labels.array, self._label_axes
        places = [axes.index(axis) for axis in self._along]
        others = tuple(i for i in range(array.ndim) if i not in places)
        occupied = np.zeros([array.shape[i] for i in places], bool)
        # Whole chunks at a time: each is read once.
        steps = [range(0, array.shape[i], array.chunks[i]) for i in places]
        for starts in itertools.product(*steps):
            selection = [slice(None)] * array.ndim
            for i, start in zip(places, starts, strict=True):
                selection[i] = slice(start, start + array.chunks[i])
            try:
                block = np.asarray(array[tuple(selection)]) != 0
            except Exception as error:  # a damaged chunk raises what its decoder raises
                raise InputError(f"{self._labels.path} is damaged.") from error
            # What is left are the axes cut along, in the array's order.
            order = np.argsort(np.argsort(places))
            target = tuple(selection[i] for i in places)
            occupied[target] = block.any(axis=others).transpose(order)
        return occupied

    def _find_limits(self) -> tuple[float, float] | None:
        """One stretch for all slices, so that a dark one stays dark; None for 8 bits."""
        if not self._places or self._image.array.dtype in (np.dtype(np.uint8), np.dtype(bool)):
            return None
        count = min(_STRETCHED_FROM, len(self))
        chosen = np.linspace(0, len(self) - 1, count).round().astype(int)
        return stretch_limits(np.stack([self._read_plane(index) for index in chosen.tolist()]))


def open_volume(
    image: Path,
    labels: Path | None = None,
    axis: str | int | None = None,
    instances: Instances = "ids",
) -> VolumePictures:
    """Open an image and a label volume as pictures of their slices.

    Parameters
    ----------
    image : Path
        A Zarr array (z, row, col), perhaps with 1, 3 or 4 channels first or last, or an OME-Zarr
        image (0.4 or 0.5), of which level 0 is read. All times of a series are taken.
    labels : Path, optional
        Likewise, without channels and of the same size; by default the label image inside `image`.
    axis : str or int, optional
        The axis along which slices are cut: a name, or a number that counts the labels' axes. By
        default "z", or the first of three.
    instances : {"ids", "components"}
        What one object of a slice is; see `objects_from_labels`.

    Returns
    -------
    VolumePictures
        The slices in which something is labelled; `notes` counts the others. More than 8 bits are
        stretched the same way in all slices.

    Raises
    ------
    InputError
        If a volume is missing or damaged, their axes or sizes differ, labels are no integers, or
        there is no such axis.
    """
    picture = open_zarr_image(image)
    truth = open_zarr_image(find_labels(image) if labels is None else labels)
    if truth.array.dtype.kind not in "bui":
        raise InputError(
            f"{truth.path} holds {truth.array.dtype} numbers, but labels are whole numbers: save "
            "them as integers."
        )
    label_axes = truth.axes or _default_axes(truth)
    image_axes = picture.axes or _axes_beside(picture, label_axes, truth)
    sizes = dict(zip(image_axes, picture.array.shape, strict=True))
    label_sizes = dict(zip(label_axes, truth.array.shape, strict=True))
    if label_sizes.pop("c", 1) != 1:
        raise InputError(f"{truth.path} has several channels, but a label volume has none.")
    channels = sizes.pop("c", 1)
    if sizes != label_sizes:
        raise InputError(
            f"{truth.path} has the size {_sizes(label_sizes)}, {picture.path} has {_sizes(sizes)}: "
            "image and labels must agree."
        )
    if channels not in (1, 3, 4):
        raise InputError(
            f"{picture.path} has {channels} channels; grey, RGB or RGBA is needed: save the one or "
            "three that matter as a volume of their own."
        )
    cut = _cut_axis(axis, [name for name in label_axes if name != "c"], truth)
    along = tuple(name for name in label_axes if name == "t" or name == cut)
    if len(sizes) - len(along) != 2:
        raise InputError(
            f"{picture.path} has the axes {', '.join(image_axes)}; (t,) (c,) z, y, x are known."
        )
    return VolumePictures(picture, truth, (image_axes, label_axes), along, instances)


def _default_axes(labels: ZarrImage) -> tuple[str, ...]:
    """Name the axes of a label array that does not say: (z,) y, x."""
    if labels.array.ndim not in (2, 3):
        raise InputError(
            f"{labels.path} has {labels.array.ndim} axes without names: save it as OME-Zarr, or as "
            "an array (z, row, col)."
        )
    return ("z", "y", "x")[-labels.array.ndim :]


def _axes_beside(
    image: ZarrImage, label_axes: tuple[str, ...], labels: ZarrImage
) -> tuple[str, ...]:
    """Name the axes of an image array that does not say: the labels', and perhaps channels."""
    spatial = tuple(axis for axis in label_axes if axis != "c")
    shape, expected = image.array.shape, labels.array.shape
    if len(shape) == len(spatial):
        return spatial
    if "c" not in label_axes and shape[:-1] == expected and shape[-1] <= _MOST_CHANNELS:
        return (*spatial, "c")
    if "c" not in label_axes and shape[1:] == expected and shape[0] <= _MOST_CHANNELS:
        return ("c", *spatial)
    raise InputError(
        f"{image.path} has the shape {shape} and {labels.path} {expected}: image and labels must "
        "agree, but for channels."
    )


def _cut_axis(axis: str | int | None, names: Sequence[str], labels: ZarrImage) -> str | None:
    """Return the name of the axis along which slices are cut; None for planes."""
    if axis is None:
        return "z" if "z" in names else None
    if isinstance(axis, int) and -len(names) <= axis < len(names):
        axis = names[axis]
    if axis not in names or axis == "t":
        raise InputError(
            f"{labels.path} cannot be cut along {axis!r}; choose one of "
            f"{', '.join(name for name in names if name != 't')}."
        )
    return str(axis)


def _sizes(sizes: dict[str, int]) -> str:
    return " x ".join(f"{size} ({axis})" for axis, size in sizes.items())
