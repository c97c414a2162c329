"""A colour for each label, the same wherever it is written."""

import colorsys

__all__ = ["label_colour"]

_GOLDEN = 0.6180339887498949
"""Steps of the golden section around the colour wheel spread neighbouring numbers evenly."""


def label_colour(number: int) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255; neighbouring numbers differ clearly.

    Examples
    --------
    >>> label_colour(1), label_colour(2)
    ((57, 115, 255), (149, 255, 0))
    """
    strength = 0.55 + 0.45 * (number % 3) / 2
    red, green, blue = colorsys.hsv_to_rgb(number * _GOLDEN % 1.0, strength, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)
