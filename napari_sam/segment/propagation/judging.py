"""Whether what was found in a plane is the object, and why not."""

from __future__ import annotations

import math

from .followed import Evidence
from .settings import Settings

__all__ = ["confidence", "verdict"]


def verdict(evidence: Evidence, area_before: int, steps: int, settings: Settings) -> str:
    """Say why an answer is not the object; nothing if it is.

    Parameters
    ----------
    evidence : Evidence
        What speaks for the answer.
    area_before : int
        Pixels of the object where it was seen last.
    steps : int
        Planes since then, 1 or more.
    settings : Settings
        What is allowed.

    Examples
    --------
    >>> verdict(Evidence(1.0, 0.9, 1.1), 5000, 1, Settings())
    ''
    >>> verdict(Evidence(1.0, 0.6, 3.1), 5000, 1, Settings())
    'what is found there is 3.1 times as large as the object before'
    >>> verdict(Evidence(0.1, 0.6, 1.0), 5000, 1, Settings())
    'the model is sure of it by only 10 % of what it is where the object is known'
    """
    room = _room(area_before, settings.change * math.sqrt(steps))
    most = settings.most_growth / room
    if evidence.area_ratio > most:
        return (
            f"what is found there is {evidence.area_ratio:.1f} times as large as the object before"
        )
    if evidence.area_ratio < 1 / most:
        return f"what is found there has only {_percent(evidence.area_ratio)} of the area before"
    if evidence.overlap < settings.least_overlap * room:
        return (
            f"what is found there overlaps with the place where the object is expected by only "
            f"{_percent(evidence.overlap)}"
        )
    if evidence.score < settings.least_score:
        return (
            f"the model is sure of it by only {_percent(evidence.score)} of what it is where the "
            f"object is known"
        )
    return ""


def confidence(evidence: Evidence) -> float:
    """Say from 0 to 1 how much speaks for a mask.

    Examples
    --------
    >>> confidence(Evidence(1.2, 0.81, 1.0))
    0.9
    """
    return math.sqrt(min(evidence.score, 1.0) * evidence.overlap)


def _room(pixels: int, change: float) -> float:
    """Return the share of its area that an object keeps whose outline moves inwards so far."""
    radius = math.sqrt(pixels / math.pi)
    return (radius / (radius + change)) ** 2


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
