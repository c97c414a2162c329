"""Whether a model knows how good its masks are: predicted against measured IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Calibration", "CalibrationBin", "calibrate"]


@dataclass(frozen=True)
class CalibrationBin:
    """Masks whose predicted IoU lies between two numbers.

    Parameters
    ----------
    low, high : float
        The numbers.
    count : int
        How many masks.
    predicted, measured : float
        Their mean predicted and mean measured IoU; NaN without masks.
    """

    low: float
    high: float
    count: int
    predicted: float
    measured: float


@dataclass(frozen=True)
class Calibration:
    """Predicted against measured IoU.

    Parameters
    ----------
    count : int
        How many masks.
    error : float
        Mean absolute difference of predicted and measured IoU.
    bias : float
        Mean predicted minus mean measured IoU; above 0 the model thinks too well of itself.
    expected_error : float
        Mean over masks of their bin's difference: the expected calibration error [1]_.
    constant_error : float
        Mean absolute error of always predicting the median, which needs no model.
    bins : tuple of CalibrationBin
        From 0 to 1.

    References
    ----------
    .. [1] Guo et al., "On Calibration of Modern Neural Networks", 2017.
       https://arxiv.org/abs/1706.04599
    """

    count: int
    error: float
    bias: float
    expected_error: float
    constant_error: float
    bins: tuple[CalibrationBin, ...]


def calibrate(
    predicted: NDArray[np.floating], measured: NDArray[np.floating], bins: int = 10
) -> Calibration:
    """Compare predicted with measured IoU.

    Parameters
    ----------
    predicted : (n,) array
        Values below 0 and above 1 count to the first and last bin.
    measured : (n,) array
        Between 0 and 1.
    bins : int
        Equally wide.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If there is no mask.

    Examples
    --------
    >>> result = calibrate(np.array([0.95, 0.85, 0.15]), np.array([0.75, 0.85, 0.15]), bins=2)
    >>> round(result.error, 3), round(result.bias, 3), [each.count for each in result.bins]
    (0.067, 0.067, [1, 2])
    """
    predicted, measured = np.asarray(predicted, float), np.asarray(measured, float)
    if not len(predicted):
        raise ValueError("calibration needs at least one mask.")
    place = np.clip((predicted * bins).astype(int), 0, bins - 1)
    table, expected = [], 0.0
    for i in range(bins):
        inside = place == i
        count = int(inside.sum())
        means = [float(v[inside].mean()) if count else float("nan") for v in (predicted, measured)]
        table.append(CalibrationBin(i / bins, (i + 1) / bins, count, *means))
        if count:
            expected += count / len(predicted) * abs(means[0] - means[1])
    return Calibration(
        count=len(predicted),
        error=float(np.abs(predicted - measured).mean()),
        bias=float((predicted - measured).mean()),
        expected_error=expected,
        constant_error=float(np.abs(measured - np.median(measured)).mean()),
        bins=tuple(table),
    )
