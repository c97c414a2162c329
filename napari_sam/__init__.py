"""Segment Anything for images of any kind and size: what a person does with `src_model`.

Coordinates are (row, col) in pixels, with pixel centres at integers.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam.widgets.attached import Attachment

__version__ = "0.1.0"


def attach(viewer: Any) -> "Attachment":
    """Return what this plugin has in a viewer of napari, for scripts; it is made if there is none.

    Parameters
    ----------
    viewer : napari.Viewer
        With its window open.

    Returns
    -------
    Attachment
        Its `use` opens an image layer; then there are `prompt`, `choose`, `accept`, `everything`
        and the session of the image.

    Examples
    --------
    >>> viewer = napari.Viewer()  # doctest: +SKIP
    >>> layer = viewer.add_image(image)  # doctest: +SKIP
    >>> sam = napari_sam.attach(viewer)  # doctest: +SKIP
    >>> sam.use(layer)  # doctest: +SKIP
    >>> sam.prompt(points=[[120, 85]])  # doctest: +SKIP
    >>> sam.accept(class_name="cell")  # doctest: +SKIP
    """
    # Whoever does not have a viewer needs neither napari nor Qt.
    from napari_sam.widgets import attached

    return attached.attach(viewer)
