"""Which regions are worth annotating next: arithmetic on what is known of them.

A region is worth it where the network doubts what it found, and where it looks unlike all that is
annotated. Both are made comparable: a doubt by its place among all doubts, a distance by the
largest one left. One region after the other is chosen, and counts as annotated for the next: the
doubtful ones that are alike are not all chosen.

References
----------
.. [1] Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach",
   2018 (the farthest from what is labelled comes next). https://arxiv.org/abs/1708.00489
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from napari_sam.tiles.regions import Region

__all__ = ["Choice", "blocks_of", "choose_regions"]


@dataclass(frozen=True)
class Choice:
    """A region that was chosen.

    Parameters
    ----------
    index : int
        Which.
    score : float
        0 to 1: the mean of the two shares.
    doubt_share : float
        How many of the other regions have a smaller doubt, 0 to 1.
    distance : float or None
        From the nearest that is annotated or was chosen before; None if there is none.
    """

    index: int
    score: float
    doubt_share: float
    distance: float | None


def choose_regions(
    doubts: ArrayLike, vectors: ArrayLike, known: ArrayLike, count: int
) -> list[Choice]:
    """Choose regions, the one most worth it first.

    Parameters
    ----------
    doubts : (n,) array
        0 to 1; NaN where nothing was found, which counts as no doubt.
    vectors : (n, channels) array
        What each looks like.
    known : (m, channels) array
        What those look like that are annotated.
    count : int
        How many; fewer if there are not so many.

    Returns
    -------
    list of Choice
        Of equal ones the first.

    Examples
    --------
    The first is the most doubtful; the second is less doubtful than the third, but unlike it:

    >>> looks = [[0.0, 0.0], [0.1, 0.0], [5.0, 0.0]]
    >>> [one.index for one in choose_regions([0.9, 0.8, 0.3], looks, np.zeros((0, 2)), 2)]
    [0, 2]
    """
    doubts = np.nan_to_num(np.asarray(doubts, np.float64), nan=0.0)
    looks, annotated = np.asarray(vectors, np.float64), np.asarray(known, np.float64)
    number = len(doubts)
    if not number:
        return []
    everything = np.concatenate([looks, annotated.reshape(-1, looks.shape[1])])
    spread = everything.std(0)
    scale = np.where(spread > 0, spread, 1.0) * np.sqrt(looks.shape[1])
    looks = (everything[:number] - everything.mean(0)) / scale
    annotated = (everything[number:] - everything.mean(0)) / scale
    shares = np.array([(doubts < doubt).sum() / max(1, number - 1) for doubt in doubts])
    distances = np.full(number, np.inf)
    for one in annotated:
        distances = np.minimum(distances, np.linalg.norm(looks - one, axis=1))
    left, chosen = np.ones(number, bool), []
    for _ in range(min(count, number)):
        farthest = distances[left].max()
        known_yet = np.isfinite(farthest)
        scores = shares / 2
        if known_yet and farthest > 0:
            scores = scores + distances / farthest / 2
        index = int(np.argmax(np.where(left, scores, -1.0)))
        distance = float(distances[index]) if known_yet else None
        chosen.append(Choice(index, float(scores[index]), float(shares[index]), distance))
        left[index] = False
        distances = np.minimum(distances, np.linalg.norm(looks - looks[index], axis=1))
    return chosen


def blocks_of(shape: tuple[int, int], side: int) -> list[Region]:
    """Cut a scene into blocks of about the same size, none larger than asked for.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of level 0.
    side : int
        Of the largest block.

    Examples
    --------
    >>> blocks_of((4, 9), 5)
    [Region(row0=0, col0=0, row1=4, col1=4), Region(row0=0, col0=4, row1=4, col1=9)]
    """
    rows, cols = (
        [length * place // parts for place in range(parts + 1)]
        for length, parts in ((length, -(-length // side)) for length in shape)
    )
    return [
        Region(row0, col0, row1, col1)
        for row0, row1 in pairwise(rows)
        for col0, col1 in pairwise(cols)
    ]
