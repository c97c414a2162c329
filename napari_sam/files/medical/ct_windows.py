"""The windows that radiologists look at CT with."""

from collections.abc import Sequence

from napari_sam.scenes.sources import Window

__all__ = ["with_ct_windows"]

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
