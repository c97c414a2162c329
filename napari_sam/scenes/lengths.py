"""Units of length, as files spell them."""

from __future__ import annotations

__all__ = ["METRES", "cubic_millimetres"]

METRES = {
    **dict.fromkeys(("nanometer", "nanometre", "nm"), 1e-9),
    **dict.fromkeys(("micrometer", "micrometre", "micron", "um", "µm"), 1e-6),
    **dict.fromkeys(("millimeter", "millimetre", "mm"), 1e-3),
    **dict.fromkeys(("centimeter", "centimetre", "cm"), 1e-2),
    **dict.fromkeys(("meter", "metre", "m"), 1.0),
    **dict.fromkeys(("kilometer", "kilometre", "km"), 1e3),
}
"""How many there are in each unit."""


def cubic_millimetres(unit: str) -> float | None:
    """Return how many mm³ a cube of a unit has; None if nobody knows the unit.

    Examples
    --------
    >>> cubic_millimetres("millimeter"), cubic_millimetres("cm"), cubic_millimetres("parsec")
    (1.0, 1000.0, None)
    """
    metres = METRES.get(unit)
    return None if metres is None else round(metres * 1e3, 12) ** 3
