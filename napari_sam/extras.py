"""Libraries that only some people need, imported when they are."""

import importlib
from types import ModuleType

from napari_sam.errors import InputError

__all__ = ["need"]


def need(module: str, extra: str) -> ModuleType:
    """Import a library of an extra.

    Parameters
    ----------
    module : str
        Its name, such as ``"rasterio"`` or ``"rasterio.features"``.
    extra : str
        What of ``napari-sam-tiled[...]`` brings it.

    Raises
    ------
    InputError
        If it is not installed, naming the extra; or if it cannot be loaded, with the reason.

    Examples
    --------
    >>> need("json", "geo").__name__
    'json'
    >>> need("no_such_library", "geo")
    Traceback (most recent call last):
        ...
    napari_sam.errors.InputError: no_such_library is needed here and is not installed: pip install \
"napari-sam-tiled[geo]".
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if error.name is not None and error.name.partition(".")[0] != library:
            library = f"{error.name}, which {library} takes,"
        raise InputError(
            f"{library} is needed here and is not installed: pip install "
            f'"napari-sam-tiled[{extra}]".'
        ) from error
    except ImportError as error:
        raise InputError(
            f"{module} is installed but cannot be loaded ({error}): install "
            f'"napari-sam-tiled[{extra}]" again.'
        ) from error
