"""COCO's two ways to outline an object, polygons and run lengths, as windows of pixels."""

from typing import Any

import numpy as np

from napari_sam.errors import InputError
from src_model.rle import box_from_rle, coco_decode_rle
from src_model.training.pictures import ObjectMask, trim

__all__ = ["object_from_segmentation"]


def object_from_segmentation(
    segmentation: Any, shape: tuple[int, int], name: str
) -> ObjectMask | None:
    """Turn the ``segmentation`` of a COCO annotation into an object.

    Parameters
    ----------
    segmentation : list or dict
        Polygons ``[[x0, y0, x1, y1, ...], ...]`` in pixels whose centres lie at half numbers; or
        ``{"size": [height, width], "counts": ...}`` with run lengths as a list or compressed.
    shape : (int, int)
        Height and width of the picture.
    name : str
        What messages call the annotation.

    Returns
    -------
    ObjectMask or None
        None if no pixel's centre lies inside.

    Raises
    ------
    InputError
        If it is neither, damaged, or of another size than the picture.

    References
    ----------
    .. [1] https://cocodataset.org/#format-data

    Examples
    --------
    >>> square = [[1, 1, 3, 1, 3, 3, 1, 3]]
    >>> found = object_from_segmentation(square, (5, 5), "a square")
    >>> found.top, found.left, found.mask.shape, found.area
    (1, 1, (2, 2), 4)
    """
    try:
        if isinstance(segmentation, dict):
            return _from_rle(segmentation, shape)
        if isinstance(segmentation, list):
            return _from_polygons(segmentation, shape)
    except (ValueError, TypeError, KeyError, UnicodeError) as error:
        reason = str(error).strip(" .") if isinstance(error, ValueError) else "a part is missing"
        raise InputError(f"{name} has a damaged outline: {reason}.") from error
    raise InputError(f"{name} has no outline: its segmentation is neither polygons nor an RLE.")


def _from_polygons(polygons: list[Any], shape: tuple[int, int]) -> ObjectMask | None:
    from skimage.draw import polygon

    if polygons and not isinstance(polygons[0], list):
        polygons = [polygons]  # one polygon without the list around it
    corners = []
    for flat in polygons:
        points = np.asarray(flat, float)
        if points.ndim != 1 or len(points) % 2 or len(points) < 6:
            raise ValueError(f"a polygon has {points.size} numbers, not pairs of three or more")
        if not np.isfinite(points).all():
            raise ValueError("a polygon has a corner that is not a number")
        corners.append(points.reshape(-1, 2)[:, ::-1] - 0.5)  # (row, col), centres at integers
    if not corners:
        return None
    everything = np.concatenate(corners)
    first = np.clip(np.floor(everything.min(0)), 0, shape).astype(int)
    stop = np.clip(np.ceil(everything.max(0)) + 1, 0, shape).astype(int)
    if (stop <= first).any():
        return None
    window = np.zeros(stop - first, bool)
    for points in corners:
        row, col = (points - first).T
        rows, cols = polygon(row, col, shape=window.shape)
        window[rows, cols] = True
    return trim(window, int(first[0]), int(first[1]))


def _from_rle(rle: dict[str, Any], shape: tuple[int, int]) -> ObjectMask | None:
    size = (int(rle["size"][0]), int(rle["size"][1]))
    if size != shape:
        raise ValueError(
            f"it is drawn on {size[0]} rows and {size[1]} columns, the picture has {shape[0]} and "
            f"{shape[1]}"
        )
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        counts = coco_decode_rle({"size": list(size), "counts": counts})["counts"]  # type: ignore[typeddict-item]
    runs = np.asarray(counts, np.int64)
    if runs.ndim != 1 or runs.min(initial=0) < 0 or runs.sum() != size[0] * size[1]:
        raise ValueError(f"its run lengths do not add up to {size[0]} x {size[1]} pixels")
    if not runs[1::2].any():
        return None
    x0, y0, x1, y1 = box_from_rle({"size": list(size), "counts": runs})  # type: ignore[typeddict-item]
    # Only the columns it touches are decoded: on a large picture most objects touch few.
    start, stop = x0 * size[0], (x1 + 1) * size[0]
    edges = np.clip(np.cumsum(runs), start, stop)
    lengths = np.diff(edges, prepend=start)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, lengths).reshape(-1, size[0])
    return ObjectMask(y0, x0, np.ascontiguousarray(columns[:, y0 : y1 + 1].T))
