"""Pictures of a kind, whose scores are reported apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["picture_kind"]

# Mean difference of the largest and smallest channel, and median brightness, of 255.
_COLOURFUL, _BRIGHT = 8, 100


def picture_kind(image: NDArray[np.uint8]) -> str:
    """Guess from its colours how a picture was taken.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
        RGB.

    Returns
    -------
    str
        "H&E-like" for coloured pictures on a bright ground, "fluorescence-like" for a dark ground,
        "other" for grey on a bright ground.

    Examples
    --------
    >>> picture_kind(np.full((2, 2, 3), (220, 150, 200), np.uint8))
    'H&E-like'
    >>> picture_kind(np.full((2, 2, 3), 9, np.uint8))
    'fluorescence-like'
    """
    if np.median(image) < _BRIGHT:
        return "fluorescence-like"
    chroma = np.ptp(image.astype(np.int16), axis=2).mean()
    return "H&E-like" if chroma > _COLOURFUL else "other"
