"""How far a mean can be trusted: confidence intervals by resampling pictures.

Objects of one picture resemble each other, so pictures are resampled and not objects: a thousand
nuclei of ten pictures are ten observations.

References
----------
.. [1] Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile
   intervals).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Estimate", "bootstrap_ratio"]


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
    if not number.sum() > 0:
        raise ValueError("a mean needs at least one object.")
    value = float(total.sum() / number.sum())
    pictures = len(number)
    if pictures == 1:
        return Estimate(value, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(pictures, np.full(pictures, 1 / pictures), size=resamples)
    drawn_counts = drawn @ number
    means = (drawn @ total)[drawn_counts > 0] / drawn_counts[drawn_counts > 0]
    low, high = np.percentile(means, [50 * (1 - confidence), 50 * (1 + confidence)])
    return Estimate(value, float(low), float(high))
