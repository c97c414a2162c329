"""A Scene: any image, read lazily, with its levels, axes, scale, place on Earth and one stretch."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.images import check_numbers
from napari_sam.scenes.axes import LazyArray, Plane, choose_channels, find_axes
from napari_sam.scenes.choices import check_index, check_nodata, check_size, check_window
from napari_sam.scenes.fingerprint import fingerprint
from napari_sam.scenes.georeference import Georeference
from napari_sam.scenes.levels import find_levels, has_mask
from napari_sam.scenes.masks import MaskedPlane, value_without_data
from napari_sam.scenes.normalisation import Normalisation, check_fits, measure
from napari_sam.scenes.opening import open_source
from napari_sam.scenes.pyramid import coarser, emptiness, halved
from napari_sam.scenes.sources import PixelSize, Source, colour_names

__all__ = [
    "Georeference",
    "Level",
    "Normalisation",
    "PixelSize",
    "Scene",
    "fingerprint",
    "measure",
    "open_scene",
]


@dataclass(frozen=True)
class Level:
    """One resolution of a Scene.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns: those of level 0 divided by `downsample`, rounded up.
    downsample : int
        A power of two: how many pixels of level 0 lie along one pixel.
    stored : bool
        Whether it is read from the file; others are computed for the window asked.
    kept : bool
        Whether it was computed, and is kept somewhere: see `Scene.with_level`.
    """

    shape: tuple[int, int]
    downsample: int
    stored: bool
    kept: bool = False


@dataclass(frozen=True, eq=False)
class Scene:
    """The image a person works on: one plane of it, at every resolution; made by `open_scene`.

    Coordinates are (row, col). It can be pickled; files are opened again where it arrives. It may
    be read from several threads.

    Parameters
    ----------
    name : str
        The path, or "the array".
    axes : str
        Of the whole image: a letter of ``TZCYXS`` for each axis.
    t, z : int
        Where the plane lies.
    dtype : dtype
        Of the samples, in native byte order.
    channel_names : tuple of str
        Of all channels; their numbers, where nothing tells.
    channels : tuple of str
        Those that are looked at, one or three: what `read` gives, in this order.
    pixel_size : PixelSize or None
        Of level 0; None where unknown.
    georeference : Georeference or None
        Likewise.
    nodata : float or None
        Where all of `channels` have this value there is no data. NaN never is data.
    masked : bool
        Whether a mask or an alpha channel of the file tells where there is no data, and nothing
        tells a value for it. `read` then puts one there (`nodata`, the smallest integer; NaN into
        fractions), and what has data differs from it: by one in the first channel, if it must.
    normalisation : Normalisation
        The one stretch of all windows at all levels.
    """

    name: str
    axes: str
    t: int
    z: int
    dtype: np.dtype
    channel_names: tuple[str, ...]
    channels: tuple[str, ...]
    pixel_size: PixelSize | None
    georeference: Georeference | None
    nodata: float | None
    normalisation: Normalisation
    masked: bool
    _planes: tuple[Plane | MaskedPlane | None, ...] = field(
        repr=False
    )  # for each level; None: computed
    _kept: frozenset[int] = field(default=frozenset(), repr=False)  # those that are not the file's
    _file: Path | None = field(default=None, repr=False)  # None: no file or folder of this machine

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of level 0."""
        return self._stored(0).shape

    @property
    def levels(self) -> tuple[Level, ...]:
        """All resolutions, each coarser by exactly 2, from full to a single pixel."""
        return tuple(
            Level(
                halved(self.shape, number),
                1 << number,
                stored=plane is not None and number not in self._kept,
                kept=number in self._kept,
            )
            for number, plane in enumerate(self._planes)
        )

    def read(self, level: int, rows: slice, cols: slice) -> np.ndarray:
        """Read a window of one level as it is stored.

        A level that is not stored is averaged from the next finer one, four pixels to one, nodata
        and NaN left out, and rounded to `dtype`. Memory stays bounded; what is read grows with the
        square of the distance to the next finer level that is stored.

        Parameters
        ----------
        level : int
            0 is full resolution.
        rows, cols : slice
            In pixels of `level`, without step; ``slice(None)`` is all.

        Returns
        -------
        ndarray
            Shape (row, col, channel), dtype `dtype`.

        Raises
        ------
        ValueError
            If there is no such level, or the window is empty or reaches beyond the level.
        InputError
            If the file is damaged there.

        Examples
        --------
        >>> scene = open_scene(np.arange(15, dtype=np.uint8).reshape(3, 5))
        >>> scene.read(1, slice(0, 2), slice(1, 3))[..., 0]
        array([[ 5,  6],
               [12, 14]], dtype=uint8)
        """
        if not 0 <= level < len(self._planes):
            raise ValueError(f"{self.name} has the levels 0 to {len(self._planes) - 1}, no {level}")
        shape = halved(self.shape, level)
        window = check_window(rows, shape[0], "rows"), check_window(cols, shape[1], "columns")
        finer = level
        while self._planes[finer] is None:
            finer -= 1
        plane = self._stored(finer)
        if finer == level:
            return plane.read(*window)
        return coarser(plane.read, plane.shape, *window, level - finer, self.nodata)

    def read_rgb(self, level: int, rows: slice, cols: slice) -> np.ndarray:
        """Read a window as the network sees it.

        Parameters
        ----------
        level, rows, cols
            As for `read`.

        Returns
        -------
        ndarray
            uint8, shape (row, col, 3), stretched by `normalisation`; 0 where there is no data. A
            single channel is repeated three times.

        Raises
        ------
        ValueError, InputError
            As `read`.
        """
        return self.normalisation.apply(self.read(level, rows, cols), self.nodata)

    def is_empty(self, level: int, rows: slice, cols: slice) -> bool:
        """Tell whether a window shows nothing: no data at all, or one value everywhere.

        Raises
        ------
        ValueError, InputError
            As `read`.
        """
        return emptiness(self.read(level, rows, cols), self.nodata) is not None

    def check_there(self) -> None:
        """Refuse an image whose file is gone: what a folder lacks would be read as empty.

        Raises
        ------
        InputError
            If there is nothing at its path.
        """
        if self._file is not None and not self._file.exists():
            raise InputError(
                f"{self.name} is no longer there: look whether its disk is connected, or whether "
                f"it was moved or deleted, and go on when it is back."
            )

    def check_readable(self) -> None:
        """Refuse an image of which nothing can be read any more, where one read failed.

        Raises
        ------
        InputError
            If there is nothing at its path, or neither the centre nor a corner can be read.
        """
        self.check_there()
        rows, cols = self.shape
        middle = rows // 2, cols // 2
        for row, col in (middle, (0, 0), (0, cols - 1), (rows - 1, 0), (rows - 1, cols - 1)):
            try:
                self.read(0, slice(row, row + 1), slice(col, col + 1))
            except InputError as error:
                problem = error
            else:
                return
        raise InputError(
            f"{self.name} cannot be read any more, neither at its centre nor at its corners: look "
            f"whether its disk or server can be reached, and go on when it can."
        ) from problem

    def with_level(self, level: int, array: LazyArray) -> "Scene":
        """Return the same Scene with one level taken from an array instead of computed.

        For levels that were computed once and are kept, as `tiles.kept_levels` does.

        Parameters
        ----------
        level : int
            1 or coarser.
        array : LazyArray
            Of the level's shape and the Scene's dtype: (row, col, channel), as `read` gives it;
            the same pixels, or the scene is no longer the same.

        Raises
        ------
        ValueError
            If the array is not like this.
        """
        if not 1 <= level < len(self._planes):
            raise ValueError(f"{self.name} has the levels 1 to {len(self._planes) - 1}, no {level}")
        shape = (*halved(self.shape, level), len(self.channels))
        if tuple(array.shape) != shape or np.dtype(array.dtype) != self.dtype:
            raise ValueError(
                f"level {level} of {self.name} is {shape} of {self.dtype}, and not {array.shape} "
                f"of {array.dtype}"
            )
        plane = Plane(array, "YXS", 0, 0, tuple(range(shape[2])), shape[:2], f"{self.name} (kept)")
        planes = (*self._planes[:level], plane, *self._planes[level + 1 :])
        return replace(self, _planes=planes, _kept=self._kept | {level})

    def _stored(self, level: int) -> Plane | MaskedPlane:
        plane = self._planes[level]
        assert plane is not None
        return plane


def open_scene(
    path_or_array: Any,
    *,
    axes: str | None = None,
    channels: int | str | Sequence[int | str] | None = None,
    t: int = 0,
    z: int = 0,
    pixel_size: PixelSize | tuple[float, float, str] | None = None,
    nodata: float | None = None,
    normalisation: Normalisation | None = None,
) -> Scene:
    """Open an image of any size without reading it.

    Parameters
    ----------
    path_or_array : path, str, or array
        A TIFF (BigTIFF, COG, OME, ImageJ), a Zarr array, an OME-Zarr image (0.4, 0.5), a .npy
        file, or a picture such as PNG and JPEG, which is read whole; the URL of a Zarr; or an
        array: numpy, memory-mapped, dask, zarr, or anything that is indexed like them; or a
        sequence of such arrays, the resolutions of one image, finest first.
    axes : str, optional
        What the axes are, a letter of ``TZCYXS`` (time, depth, channel, row, column, sample of
        colour) for each; by default what the file says, else what the shape leaves no doubt about.
    channels : int, str, or sequence of these, optional
        One channel (grey) or three (red, green, blue), by number or by name. By default the first
        three where there are three or more, else the first: `Scene.channels` says which.
    t, z : int
        Which plane.
    pixel_size : PixelSize or (float, float, str), optional
        Height, width and unit; by default what the file says.
    nodata : float, optional
        The value of pixels without data; by default what the file says.
    normalisation : Normalisation, optional
        One that was saved; by default `measure` finds it. That reads a sample of at most 64
        windows; 8-bit images are taken as they are, and nothing is read.

    Returns
    -------
    Scene
        Of the one plane.

    Raises
    ------
    InputError
        If the image is missing, damaged, not made of real numbers, or one of the choices does not
        exist in it.

    Examples
    --------
    >>> stack = np.zeros((3, 100, 80), np.uint8)
    >>> scene = open_scene(stack, axes="ZYX", z=2)
    >>> scene.shape, scene.channels, [level.shape for level in scene.levels[:3]]
    ((100, 80), ('grey',), [(100, 80), (50, 40), (25, 20)])
    >>> open_scene(stack)
    Traceback (most recent call last):
        ...
    napari_sam.errors.InputError: the array has shape (3, 100, 80), which does not tell what the \
axes are: give e.g. axes='ZYX' or axes='CYX'.
    """
    source = open_source(path_or_array)
    name, array = source.name, source.levels[0]
    try:
        dtype = np.dtype(array.dtype).newbyteorder("=")
    except TypeError:
        raise InputError(
            f"{name} has the unknown type {array.dtype}: give a numpy array."
        ) from None
    check_numbers(dtype, name)
    shape = tuple(array.shape)
    if 0 in shape:
        raise InputError(f"{name} has no pixels (shape {shape}).")
    axes = find_axes(shape, source.axes if axes is None else axes, name)
    sizes = dict(zip(axes, shape, strict=True))
    names = _channel_names(source, sizes)
    chosen = choose_channels(channels, names, name)
    place = [check_index(index, sizes.get(a, 1), a, name) for a, index in (("T", t), ("Z", z))]
    told = check_nodata(nodata, source.nodata, dtype, name)
    hidden = None
    if has_mask(source, axes, chosen, dtype):
        hidden = (value_without_data(dtype), dtype.kind != "f") if told is None else (told, False)
    scene = Scene(
        name=name,
        axes=axes,
        t=place[0],
        z=place[1],
        dtype=dtype,
        channel_names=names,
        channels=tuple(names[number] for number in chosen),
        pixel_size=source.pixel_size if pixel_size is None else check_size(pixel_size, name),
        georeference=source.georeference,
        nodata=hidden[0] if hidden is not None and hidden[1] else told,
        masked=hidden is not None and told is None,
        normalisation=Normalisation("as_is", (0.0,) * len(chosen), (0.0,) * len(chosen)),
        _planes=find_levels(source, axes, (place[0], place[1]), chosen, hidden),
        _file=_local_path(path_or_array),
    )
    if normalisation is None:
        normalisation = measure(scene)
    check_fits(normalisation, scene.channels, name)
    return replace(scene, normalisation=normalisation)


def _local_path(image: Any) -> Path | None:
    if not isinstance(image, str | os.PathLike) or "://" in os.fspath(image):
        return None
    return Path(image).absolute()


def _channel_names(source: Source, sizes: dict[str, int]) -> tuple[str, ...]:
    """Name all channels: as the file does, else by colour, else by number."""
    count = sizes.get("C", 1) * sizes.get("S", 1)
    if len(source.channel_names) == count:
        return source.channel_names
    if "C" not in sizes and colour_names(count):
        return colour_names(count)
    return tuple(map(str, range(count)))
