"""Windows, as radiologists look at images with: those of a file, and the usual ones for CT."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_sam.scenes.sources import Window

__all__ = ["plain", "presets", "turned_round", "with_ct_windows"]

_CT = (("soft tissue", 50, 400), ("lung", -600, 1500), ("bone", 400, 1800))
"""Centre and width in HU, as workstations commonly offer them; a scanner's own come before."""


def with_ct_windows(windows: Sequence[Window]) -> tuple[Window, ...]:
    """Add the usual windows behind the presets of a scanner.

    Examples
    --------
    >>> [window.name for window in with_ct_windows([Window("abdomen", -110, 190)])]
    ['abdomen', 'soft tissue', 'lung', 'bone']
    >>> with_ct_windows([])[1]
    Window(name='lung', low=-1350.0, high=150.0)
    """
    usual = (Window(name, centre - width / 2, centre + width / 2) for name, centre, width in _CT)
    return (*windows, *usual)


def presets(data: Any) -> tuple[tuple[Window, ...], bool]:
    """Read the windows of a dataset, and whether they are curves.

    DICOM PS3.3 C.11.2 says where a window begins and ends.
    """

    def several(name: str) -> list[Any]:
        value = data.get(name)
        plain_value = value is None or isinstance(value, str) or np.ndim(value) == 0
        return ([] if value is None else [value]) if plain_value else list(value)

    function = str(data.get("VOILUTFunction") or "LINEAR")
    names = several("WindowCenterWidthExplanation")
    windows = []
    for number, (centre, width) in enumerate(
        zip(map(float, several("WindowCenter")), map(float, several("WindowWidth")), strict=False)
    ):
        low, high = centre - width / 2, centre + width / 2
        if function == "LINEAR":
            low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        if low < high and np.isfinite((low, high)).all():
            name = plain(names[number]) if number < len(names) else f"window {number + 1}"
            windows.append(Window(name, low, high))
    return tuple(windows), function == "SIGMOID"


def turned_round(windows: Sequence[Window], total: float) -> tuple[Window, ...]:
    """Follow values that are turned round: each has become `total` less itself."""
    return tuple(Window(w.name, total - w.high, total - w.low) for w in windows)


def plain(value: Any) -> str:
    """Return a text in one line; nothing for None."""
    words = "" if value is None else str(value)
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())
