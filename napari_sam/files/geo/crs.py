"""Coordinate reference systems: what they are called, and the way from one to another."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need

if TYPE_CHECKING:
    from napari_sam.scenes.georeference import Georeference

__all__ = ["CrsTransform", "crs_called", "crs_named", "crs_of"]


def crs_named(name: Any, whose: str) -> Any:
    """Find a coordinate reference system.

    Parameters
    ----------
    name : str, int or pyproj.CRS
        A code (``"EPSG:32617"``), a name, WKT, or a PROJ string.
    whose : str
        What messages say has it.

    Returns
    -------
    pyproj.CRS

    Raises
    ------
    InputError
        If there is no such system, or pyproj is missing.

    Examples
    --------
    >>> crs_named("EPSG:32617", "the image").name
    'WGS 84 / UTM zone 17N'
    """
    pyproj = need("pyproj", "geo")
    try:
        return pyproj.CRS.from_user_input(name)
    except pyproj.exceptions.CRSError as error:
        text = " ".join(str(name).split())
        raise InputError(
            f"{whose[0].upper()}{whose[1:]} has the coordinate system "
            f"{text[:60]}{'...' * (len(text) > 60)}, which is unknown here: name one that PROJ "
            f"knows, such as EPSG:32617."
        ) from error


def crs_of(georeference: Georeference | None, image: str) -> Any:
    """Return an image's coordinate reference system; None where it tells none.

    Raises
    ------
    InputError
        If it is unknown, or pyproj is missing.
    """
    if georeference is None or georeference.crs is None:
        return None
    return crs_named(georeference.crs, image)


def crs_called(crs: Any) -> str:
    """Return a short name of a coordinate reference system.

    Examples
    --------
    >>> crs_called(crs_named("EPSG:4326", "it")), crs_called(crs_named("+proj=laea", "it"))
    ('EPSG:4326', 'a coordinate system of its own')
    """
    authority = crs.to_authority()
    if authority is not None:
        return ":".join(authority)
    return crs.name if crs.name not in ("unknown", "") else "a coordinate system of its own"


class CrsTransform:
    """The way from one coordinate reference system into another, x (or longitude) always first.

    Parameters
    ----------
    source, target : pyproj.CRS
        The two; if they are equal nothing is computed.

    Examples
    --------
    >>> way = CrsTransform(crs_named("EPSG:4326", "it"), crs_named("EPSG:32617", "it"))
    >>> way(np.array([[-81.0, 0.0]])).round(3).tolist()
    [[500000.0, 0.0]]
    """

    def __init__(self, source: Any, target: Any) -> None:
        self._same = source.equals(target, ignore_axis_order=True)
        self._ends = source, target

    @property
    def rough(self) -> bool:
        """Whether nothing on this machine tells how far the datums differ: off by metres, then."""
        return not self._same and "allpark" in self._transformer.description

    def __call__(self, xy: np.ndarray) -> np.ndarray:
        """Transform positions.

        Parameters
        ----------
        xy : ndarray
            Shape (n, 2).

        Returns
        -------
        ndarray
            float64, shape (n, 2); not finite where the target has no such place.
        """
        xy = np.asarray(xy, np.float64)
        if self._same or not len(xy):
            return xy
        x, y = self._transformer.transform(xy[:, 0], xy[:, 1])
        return np.stack([x, y], axis=1)

    @functools.cached_property
    def _transformer(self) -> Any:
        return need("pyproj", "geo").Transformer.from_crs(*self._ends, always_xy=True)
