"""Run-length encoded masks, plain and as COCO's compressed string.

A mask is read column by column; `counts` alternates the lengths of background and foreground runs
and starts with background (possibly of length 0). The compressed form is that of COCO's
`maskApi.c`: each count from the fourth on is stored as its difference from the count two before,
in 5-bit groups, least significant first, a sixth bit saying that more follow, offset by 48 into
printable characters.

References
----------
.. [1] https://github.com/cocodataset/cocoapi
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "CocoRle",
    "Rle",
    "area_from_rle",
    "box_from_rle",
    "coco_decode_rle",
    "coco_encode_rle",
    "mask_to_rle",
    "mask_to_rle_pytorch",
    "rle_from_window",
    "rle_to_mask",
]


class Rle(TypedDict):
    """An uncompressed encoding: `size` is [height, width], `counts` sums to their product."""

    size: list[int]
    counts: list[int]


class CocoRle(TypedDict):
    """A compressed run-length encoding: `size` is [height, width], `counts` is ASCII."""

    size: list[int]
    counts: str


def rle_from_window(
    columns: NDArray[np.bool_], offset: tuple[int, int], size: tuple[int, int]
) -> Rle:
    """Encode a mask of which only a window is given; all is background outside.

    Parameters
    ----------
    columns : np.ndarray
        (window width, window height) bool: the window *transposed*, so that memory order is
        reading order.
    offset : tuple of int
        (row, column) of the window's first pixel in the mask.
    size : tuple of int
        (height, width) of the mask.

    Returns
    -------
    Rle

    Examples
    --------
    >>> rle_from_window(np.ones((1, 2), bool), offset=(1, 2), size=(4, 5))
    {'size': [4, 5], 'counts': [9, 2, 9]}
    """
    height, width = size
    columns_n, rows_n = columns.shape
    # A background pixel after every column (and one before the first) ends each run within its
    # column.
    padded = np.zeros(columns_n * (rows_n + 1) + 1, bool)
    padded[1:].reshape(columns_n, rows_n + 1)[:, :rows_n] = columns
    column, row = np.divmod(np.flatnonzero(padded[1:] != padded[:-1]), rows_n + 1)
    edges = (column + offset[1]) * height + row + offset[0]
    if rows_n == height:
        # A run may go on in the next column: then it "ends" where it "starts".
        joined = np.flatnonzero(edges[1:] == edges[:-1])
        edges = np.delete(edges, np.concatenate([joined, joined + 1]))
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    if len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    return {"size": [height, width], "counts": counts}


def mask_to_rle(mask: NDArray[np.bool_]) -> Rle:
    """Encode one mask.

    Parameters
    ----------
    mask : np.ndarray
        (height, width) bool.

    Returns
    -------
    Rle

    Examples
    --------
    >>> mask_to_rle(np.array([[True, False], [True, False]]))
    {'size': [2, 2], 'counts': [0, 2, 2]}
    """
    height, width = mask.shape
    return rle_from_window(np.asarray(mask, bool).T, (0, 0), (height, width))


def mask_to_rle_pytorch(tensor: Tensor) -> list[Rle]:
    """Encode a batch of masks.

    Parameters
    ----------
    tensor : Tensor
        (n, height, width) bool.

    Returns
    -------
    list of Rle
    """
    return [mask_to_rle(mask) for mask in tensor.detach().cpu().numpy()]


def rle_to_mask(rle: Rle) -> NDArray[np.bool_]:
    """Decode a mask.

    Parameters
    ----------
    rle : Rle
        Uncompressed; for a compressed one see `coco_decode_rle`.

    Returns
    -------
    np.ndarray
        (height, width) bool, a transposed view as reading order is by columns.

    Raises
    ------
    ValueError
        If the counts do not add up to the size.

    Examples
    --------
    >>> rle_to_mask({"size": [2, 2], "counts": [0, 2, 2]})
    array([[ True, False],
           [ True, False]])
    """
    height, width = rle["size"]
    counts = np.asarray(rle["counts"], dtype=np.int64)
    if counts.min(initial=0) < 0 or counts.sum() != height * width:
        raise ValueError(
            f"Run lengths must be at least 0 and add up to {height} x {width} = {height * width} "
            f"pixels, but they add up to {counts.sum()}."
        )
    foreground = np.arange(len(counts)) % 2 == 1
    return np.repeat(foreground, counts).reshape(width, height).T


def area_from_rle(rle: Rle) -> int:
    """Count the foreground pixels of an uncompressed encoding.

    Examples
    --------
    >>> area_from_rle({"size": [4, 5], "counts": [9, 2, 9]})
    2
    """
    return sum(rle["counts"][1::2])


def box_from_rle(rle: Rle) -> tuple[int, int, int, int]:
    """Find the bounding box without decoding.

    Parameters
    ----------
    rle : Rle
        Uncompressed.

    Returns
    -------
    tuple of int
        (x0, y0, x1, y1), the last pixels included; all 0 for an empty mask.

    Examples
    --------
    >>> box_from_rle({"size": [4, 5], "counts": [9, 2, 9]})
    (2, 1, 2, 2)
    """
    height = rle["size"][0]
    counts = np.asarray(rle["counts"], dtype=np.int64)
    edges = np.cumsum(counts)
    runs = np.flatnonzero(counts[1::2])
    starts, ends = edges[0::2][runs], edges[1::2][runs]
    if len(runs) == 0:
        return 0, 0, 0, 0
    x_first, y_first = np.divmod(starts, height)
    x_last, y_last = np.divmod(ends - 1, height)
    # A run over several columns covers the bottom of one and the top of the next.
    wraps = bool((x_last > x_first).any())
    y0 = 0 if wraps else int(y_first.min())
    y1 = height - 1 if wraps else int(y_last.max())
    return int(x_first[0]), y0, int(x_last[-1]), y1


def coco_encode_rle(uncompressed_rle: Rle) -> CocoRle:
    """Compress run lengths into COCO's string.

    Parameters
    ----------
    uncompressed_rle : Rle
        Counts below 2**31.

    Returns
    -------
    CocoRle

    Examples
    --------
    >>> coco_encode_rle({"size": [4, 5], "counts": [9, 2, 9]})
    {'size': [4, 5], 'counts': '929'}
    """
    values = np.array(uncompressed_rle["counts"], dtype=np.int64)
    values[3:] -= values[1:-2].copy()
    characters = np.empty((len(values), 7), dtype=np.uint8)
    used = np.zeros((len(values), 7), dtype=bool)
    more = np.ones(len(values), dtype=bool)
    for place in range(7):
        used[:, place] = more
        group = values & 0x1F
        values >>= 5
        # Groups follow until what is left is only the sign that the last group's top bit already
        # says.
        more = more & (values != np.where(group & 0x10, -1, 0))
        characters[:, place] = 48 + group + 0x20 * more
    height, width = uncompressed_rle["size"]
    return {"size": [height, width], "counts": characters[used].tobytes().decode("ascii")}


def coco_decode_rle(rle: CocoRle) -> Rle:
    """Expand COCO's string into run lengths.

    Parameters
    ----------
    rle : CocoRle
        `counts` may also be bytes, as pycocotools gives them.

    Returns
    -------
    Rle

    Raises
    ------
    ValueError
        If the string is cut short, has characters outside the format, or its counts do not fit the
        size.

    Examples
    --------
    >>> coco_decode_rle({"size": [4, 5], "counts": "929"})
    {'size': [4, 5], 'counts': [9, 2, 9]}
    """
    text: str | bytes = rle["counts"]
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    groups = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(groups & 0x20 == 0)
    cut_off = groups[-1:] & 0x20
    if groups.min(initial=0) < 0 or groups.max(initial=0) > 63 or cut_off.any():
        raise ValueError(
            "The compressed run lengths are damaged: a stray character or a cut-off end."
        )
    starts = np.concatenate([[0], ends[:-1] + 1])[: len(ends)]
    lengths = ends - starts + 1
    if lengths.max(initial=0) > 7:
        raise ValueError("The compressed run lengths are damaged: a count of more than 35 bits.")
    place = np.arange(len(groups)) - np.repeat(starts, lengths)
    values = np.add.reduceat((groups & 0x1F) << (5 * place), starts) if len(starts) else starts
    values = values - np.where(groups[ends] & 0x10, 1 << (5 * lengths), 0)
    # Undo the differences: every second count, from the second and from the third on.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    height, width = rle["size"]
    if values.min(initial=0) < 0 or values.sum() != height * width:
        raise ValueError(
            f"The compressed run lengths add up to {values.sum()}, "
            f"not to {height} x {width} pixels."
        )
    return {"size": [height, width], "counts": values.tolist()}
