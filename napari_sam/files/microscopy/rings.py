"""The outline of each object of each plane, for formats of polygons in pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from napari_sam.files.geo.outlines import trace_blocks
from napari_sam.files.labelled import Labelled

__all__ = ["Outlined", "outlined"]


@dataclass(frozen=True, eq=False)
class Outlined:
    """An object in one plane, as polygons.

    Parameters
    ----------
    id : int
        The object's.
    t, z : int
        The plane.
    polygons : tuple of tuple of ndarray
        For each part its rings, the outer one first, then holes: (n, 2) int32 (x, y) of corners of
        pixels, (0, 0) being the outer corner of the first pixel; the first is not repeated.
    """

    id: int
    t: int
    z: int
    polygons: tuple[tuple[np.ndarray, ...], ...]


def outlined(labelled: Labelled) -> Iterator[Outlined]:
    """Trace objects along the edges of their pixels, plane by plane, by ascending id.

    Examples
    --------
    >>> from napari_sam.scene import open_scene
    >>> labels = np.array([[0, 7, 7]])
    >>> (seven,) = outlined(Labelled(open_scene(np.zeros((1, 3), np.uint8)), labels, "YX"))
    >>> seven.polygons[0][0].tolist()
    [[1, 0], [3, 0], [3, 1], [1, 1]]
    """
    for t, z in labelled.planes:
        found = trace_blocks(
            lambda region, t=t, z=z: labelled.plane(region, t, z),  # type: ignore[misc]
            labelled.scene.shape,
        )
        ids, first = np.unique(found.owners, return_index=True)
        ends = [*first.tolist(), len(found.owners)][1:]
        for number, start, end in zip(ids.tolist(), first.tolist(), ends, strict=True):
            polygons: list[list[np.ndarray]] = []
            for index in range(start, end):
                ring = np.ascontiguousarray(found.ring(index)[:, ::-1])
                if found.holes[index]:
                    polygons[-1].append(ring)
                else:
                    polygons.append([ring])
            yield Outlined(number, t, z, tuple(map(tuple, polygons)))
