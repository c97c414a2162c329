"""`napari-sam open`: an image in napari, ready to click."""

from napari_sam.commands.windows import check_windows
from napari_sam.live.preload import preload
from napari_sam.loading import check_model

__all__ = ["run"]


def run(image: str, model: str, part: str | None = None) -> None:
    """Open a window with an image, and wait until it is closed.

    Parameters
    ----------
    image : str
        An image, a session of one, or a store of embeddings.
    model : str
        As `napari_sam.loading.load` takes it.
    part : str or None
        Which image of a file that holds several.

    Raises
    ------
    InputError
        If no window can be opened, or there is no such image or model.
    """
    check_windows()
    preload()  # beside napari, which takes a while too
    from napari_sam.widgets import launch

    check_model(model, "auto", "auto")
    launch.show_image(image, model, part)
    launch.wait()
