"""Windows that represent an image: the same ones every time, however large it is."""

import math

import xxhash

__all__ = ["spread_windows"]

Window = tuple[slice, slice]


def spread_windows(shape: tuple[int, int], count: int, side: int) -> list[Window]:
    """Choose windows spread evenly over an image.

    The image is divided into about `count` cells; in each lies one window, at a place that a
    hash of the cell's number decides: a grid without jitter would see only one phase of a
    regular pattern.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    count : int
        About how many windows; never more.
    side : int
        Rows and columns of a window, where the image has as many.

    Returns
    -------
    list of (slice, slice)
        Rows and columns of each; one window, the whole, where that is no more pixels than all
        windows together would have.

    Examples
    --------
    >>> spread_windows((100, 300), 4, 64)
    [(slice(0, 100, None), slice(0, 300, None))]
    >>> windows = spread_windows((10**6, 10**6), 64, 64)
    >>> len(windows), all(rows.stop - rows.start == 64 for rows, cols in windows)
    (64, True)
    """
    rows, cols = shape
    # The whole only when it is not much longer than the windows are together.
    if rows * cols <= count * side * side * 2:
        return [(slice(0, rows), slice(0, cols))]
    # Cells as square as possible, but no narrower than a window.
    down = max(1, min(round(math.sqrt(count * rows / cols)), rows // side, count))
    across = max(1, min(count // down, cols // side))
    down = max(1, min(count // across, rows // side))
    windows = []
    for i in range(down):
        for j in range(across):
            cell = f"{rows} {cols} {i} {j}".encode()
            row = _place(rows * i // down, rows * (i + 1) // down, side, xxhash.xxh64(cell, 1))
            col = _place(cols * j // across, cols * (j + 1) // across, side, xxhash.xxh64(cell, 2))
            windows.append((row, col))
    return windows


def _place(start: int, stop: int, side: int, chance: xxhash.xxh64) -> slice:
    """Put a window somewhere into a cell."""
    room = max(0, stop - start - side)
    first = start + chance.intdigest() % (room + 1)
    return slice(first, min(first + side, stop))
