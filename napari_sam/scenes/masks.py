"""Pixels that a mask or an alpha channel of the file says are no data."""

from dataclasses import dataclass

import numpy as np

from napari_sam.scenes.axes import Plane

__all__ = ["MaskedPlane", "value_without_data"]


@dataclass(frozen=True)
class MaskedPlane:
    """A `Plane` that reads as nodata where its mask is 0.

    Parameters
    ----------
    plane : Plane
        The chosen channels; and the alpha channel as the last, if `mask` is None.
    mask : Plane or None
        One channel, of the shape of `plane`.
    nodata : float
        What is put where the mask is 0, into all channels.
    apart : bool
        Whether pixels with data must not look as if they had none: those that have `nodata` in all
        channels then get one more in the first, as GDAL's warper does it.

    Examples
    --------
    >>> pixels = np.array([[[5, 255], [0, 255], [7, 0]]], np.uint8)
    >>> plane = Plane(pixels, "YXS", 0, 0, (0, 1), (1, 3), "grey with alpha")
    >>> masked = MaskedPlane(plane, None, 0, apart=True)
    >>> masked.read(slice(0, 1), slice(0, 3))[..., 0]
    array([[5, 1, 0]], dtype=uint8)
    """

    plane: Plane
    mask: Plane | None
    nodata: float
    apart: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.plane.shape

    def read(self, rows: slice, cols: slice) -> np.ndarray:
        """Read a window, as `Plane.read` does.

        Raises
        ------
        InputError
            If the file is damaged there, or out of reach.
        """
        block = self.plane.read(rows, cols)
        if self.mask is None:
            block, mask = block[..., :-1], block[..., -1:]
        else:
            mask = self.mask.read(rows, cols)
        valid = mask != 0
        nodata = block.dtype.type(self.nodata)
        block = np.where(valid, block, nodata)
        if self.apart:
            alike = np.logical_and.reduce([valid[..., 0], *np.moveaxis(block == nodata, -1, 0)])
            block[..., 0][alike] += block.dtype.type(1)
        return block


def value_without_data(dtype: np.dtype) -> float:
    """Return what to put where a mask says that there is no data.

    Examples
    --------
    >>> [value_without_data(np.dtype(kind)) for kind in ("u2", "i2", "f4")]
    [0, -32768, nan]
    """
    return float("nan") if dtype.kind == "f" else int(np.iinfo(dtype).min)
