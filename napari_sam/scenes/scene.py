"""One plane of an image of any size, at every resolution, read where it is looked at."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.axes import LazyArray, Plane
from napari_sam.scenes.choices import check_window
from napari_sam.scenes.georeference import Georeference
from napari_sam.scenes.masks import MaskedPlane
from napari_sam.scenes.normalisation import Normalisation
from napari_sam.scenes.pyramid import coarser, emptiness, halved
from napari_sam.scenes.sources import PixelSize, Window
from napari_sam.scenes.volume_grid import VolumeGrid

__all__ = ["Level", "Scene"]


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
    times, planes : int
        How many there are along T and along Z.
    depth : float or None
        From one plane to the next, in the unit of `pixel_size`; None where unknown.
    grid : VolumeGrid or None
        Where a medical volume lies in the patient: of its axes as the reader has them, which
        `axes` names.
    windows : tuple of Window
        Ways to show it that the file offers; the first is the normalisation by default.
    part : str or None
        Which image it is of a file that holds several.
    notes : tuple of str
        What is odd in the file or good to know, in sentences.
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
    times: int
    planes: int
    depth: float | None
    grid: VolumeGrid | None
    windows: tuple[Window, ...]
    part: str | None
    notes: tuple[str, ...]
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
        >>> from napari_sam.scene import open_scene
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
