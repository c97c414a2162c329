"""What is offered to be worked on: an image, and what is to be known to open it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam.errors import InputError
from napari_sam.scenes.turning import looked_along
from napari_sam.tiles.reopening import choices

if TYPE_CHECKING:
    from napari_sam.scene import PixelSize, Scene
    from napari_sam.tiles.subjects import SceneInfo

__all__ = ["Picture", "is_flat"]

_SIDES: tuple[Literal["z", "y", "x"], ...] = ("z", "y", "x")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that an image layer shows, or that a script gives.

    Parameters
    ----------
    image : path, str, array, or sequence of arrays
        As `napari_sam.scene.open_scene` takes it.
    axes : str, optional
        A letter of ``TZCYXS`` for each; None leaves it to the file, or to the shape.
    channels : int, str, or sequence of these, optional
        One or three; None takes those that the image was opened with before, else the first.
    pixel_size : PixelSize or (float, float, str), optional
        None leaves it to the file.
    name : str
        What people call it.
    path : Path, optional
        Of its file: results lie beside it. None for arrays and URLs.
    along : {"z", "y", "x"}
        Which axis of a volume to look along, as `open_scene` takes it.
    part : str, optional
        Which image of a file that holds several.

    Examples
    --------
    >>> picture = Picture(np.zeros((5, 40, 50), np.uint8), axes="ZYX", name="stack")
    >>> scene = picture.open(z=3)
    >>> scene.shape, scene.z
    ((40, 50), 3)
    """

    image: Any
    axes: str | None = None
    channels: int | str | Sequence[int | str] | None = None
    pixel_size: PixelSize | tuple[float, float, str] | None = None
    name: str = "image"
    path: Path | None = None
    along: Literal["z", "y", "x"] = "z"
    part: str | None = None

    @classmethod
    def of(cls, image: Any, **options: Any) -> Picture:
        """Describe an image by itself: a path, a URL or an array.

        Examples
        --------
        >>> picture = Picture.of("slides/one.tif")
        >>> picture.name, picture.path.name
        ('one', 'one.tif')
        """
        if not isinstance(image, str | os.PathLike):
            return cls(image, **options)
        text = os.fspath(image)
        if "://" in text:
            return cls(text, name=text.rstrip("/").rsplit("/", 1)[-1], **options)
        path = Path(image).expanduser().absolute()
        return cls(path, name=path.stem, path=path, **options)

    def open(self, t: int = 0, z: int = 0, like: SceneInfo | None = None) -> Scene:
        """Open one plane of it.

        Parameters
        ----------
        t, z : int
            Which.
        like : SceneInfo, optional
            A plane of it as it was opened before: with the same axes, channels, and stretch, so
            that all planes look alike. The stretch is measured anew where that plane had nothing
            to see.

        Raises
        ------
        InputError
            As `napari_sam.scene.open_scene`.
        """
        from napari_sam.scene import open_scene

        options: dict[str, Any] = {} if like is None else choices(like)
        if like is not None and (like.t, like.z) != (t, z) and is_flat(like):
            del options["normalisation"]
        given = {
            "axes": self.axes,
            "channels": self.channels,
            "pixel_size": self.pixel_size,
            "part": self.part,
        }
        options |= {name: value for name, value in given.items() if value is not None}
        if like is None or self.axes is not None:  # else its axes say already where it was looked
            options["along"] = self.along
        return open_scene(self.image, **{**options, "t": t, "z": z})

    def is_other_side(self, plane: SceneInfo) -> bool:
        """Tell whether a plane was looked at along another axis of the image than this says.

        Raises
        ------
        InputError
            If the image cannot be opened.

        Examples
        --------
        >>> from napari_sam.tiles.subjects import SceneInfo
        >>> stack = Picture(np.zeros((5, 40, 50), np.uint8), axes="ZYX")
        >>> across = Picture(stack.image, axes="ZYX", along="x")
        >>> across.is_other_side(SceneInfo.of(stack.open()))
        True
        """
        from napari_sam.scenes.axes import find_axes
        from napari_sam.scenes.opening import open_source

        axes = self.axes
        if "Z" not in plane.axes:
            return False
        if axes is None:
            source = open_source(self.image, self.part)
            try:
                axes = find_axes(tuple(source.levels[0].shape), source.axes, source.name)
            except InputError:
                return False  # nothing says from which side it was looked at
        if "Z" not in axes:
            return False
        sides = {side: looked_along(axes, side, self.name) for side in _SIDES}
        return plane.axes in sides.values() and plane.axes != sides[self.along]


def is_flat(plane: SceneInfo) -> bool:
    """Tell whether a stretch was measured where all is one value, which shows nothing elsewhere."""
    stretch = plane.normalisation
    return bool(np.all(np.equal(stretch["low"], stretch["high"])))
