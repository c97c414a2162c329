"""How far a mean can be trusted: confidence intervals by resampling pictures.

Objects of one picture resemble each other, so pictures are resampled and not objects: a thousand
nuclei of ten pictures are ten observations.

References
----------
.. [1] Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile
   intervals).
.. [2] Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 5.2 (percentile
   intervals of small samples are too narrow, and by how much). https://arxiv.org/abs/1411.5279
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Estimate", "bootstrap_difference", "bootstrap_ratio"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its confidence interval.

    Parameters
    ----------
    value : float
        From all pictures.
    low, high : float
        Ends of the interval; NaN if there is one picture only.
    """

    value: float
    low: float
    high: float


def bootstrap_ratio(
    sums: ArrayLike,
    counts: ArrayLike,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return a mean over the objects of all pictures, with a percentile interval.

    Pictures are drawn with replacement. The mean is the sum of the drawn pictures' sums over the
    sum of their counts, so that every object weighs the same.

    Parameters
    ----------
    sums, counts : (pictures,) arrays
        Sum of a score over a picture's objects, and their number. With counts of 1 the mean is
        over pictures. At least one picture, and a positive count.
    resamples : int
        How often to draw.
    confidence : float
        Between 0 and 1.
    seed : int
        Of the draws; equal seeds and numbers of pictures draw the same pictures.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If there is nothing to take the mean of.

    Examples
    --------
    >>> estimate = bootstrap_ratio([3.0, 1.0, 2.0], [4, 2, 2])
    >>> estimate.value, bool(0.5 <= estimate.low < 0.75 < estimate.high <= 1)
    (0.75, True)
    """
    total, number = np.asarray(sums, float), np.asarray(counts, float)
    return _resampled(total, number, (1 - confidence) / 2, resamples, seed)


def bootstrap_difference(
    before: ArrayLike,
    after: ArrayLike,
    counts: ArrayLike,
    *,
    resamples: int = 5000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return how much a mean over the same objects has changed, with a paired interval.

    Each draw of pictures counts for both means, so that what makes a picture hard for both does
    not widen the interval. Few pictures make percentile intervals too narrow; their ends are moved
    outwards as Student's t is wider than the normal distribution [2]_.

    Parameters
    ----------
    before, after : (pictures,) arrays
        Sums of a score over each picture's objects.
    counts : (pictures,) array
        Number of these objects. Pictures without any are left out.
    resamples, confidence, seed
        As in `bootstrap_ratio`.

    Returns
    -------
    Estimate
        The mean after minus the mean before.

    Raises
    ------
    ValueError
        If there is nothing to take the mean of.

    Examples
    --------
    >>> change = bootstrap_difference([3.0, 1.0, 2.0], [3.4, 1.2, 2.1], [4, 2, 2])
    >>> round(change.value, 4), bool(0.04 < change.low < change.value < change.high < 0.11)
    (0.0875, True)
    """
    from scipy.special import ndtr, stdtrit

    number = np.asarray(counts, float)
    present = number > 0
    difference = (np.asarray(after, float) - np.asarray(before, float))[present]
    pictures = int(present.sum())
    tail = (1 - confidence) / 2
    if pictures > 1:
        tail = float(ndtr(math.sqrt(pictures / (pictures - 1)) * stdtrit(pictures - 1, tail)))
    return _resampled(difference, number[present], tail, resamples, seed)


def _resampled(
    total: NDArray[np.float64],
    number: NDArray[np.float64],
    tail: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """Return a mean; below and above its interval lies the share `tail` of resampled means."""
    if not number.sum() > 0:
        raise ValueError("a mean needs at least one object.")
    value = float(total.sum() / number.sum())
    if len(number) == 1:
        return Estimate(value, float("nan"), float("nan"))
    drawn = _draws(len(number), resamples, seed)
    drawn_counts = drawn @ number
    means = (drawn @ total)[drawn_counts > 0] / drawn_counts[drawn_counts > 0]
    low, high = np.percentile(means, [100 * tail, 100 * (1 - tail)])
    return Estimate(value, float(low), float(high))


@lru_cache(maxsize=4)  # a report has a hundred figures of the same pictures
def _draws(pictures: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Return how often each picture is drawn in each sample, (resamples, pictures)."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=resamples)
    drawn.setflags(write=False)
    return drawn
