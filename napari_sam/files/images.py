"""A picture on disk -> an array -> the uint8 RGB that the network sees."""

import contextlib
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from napari_sam.errors import InputError

MAX_PIXELS = 178_956_970
"""Pictures are read whole; one with more pixels than this is refused (Pillow's own limit)."""

_TIFF_MAGIC = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_WORDS = np.arange(1 << 16, dtype=np.uint16)
"""All values of 16 bits: a table of what becomes of each is three times as fast as arithmetic."""

_SAMPLES_AT_ONCE = 1 << 16
"""Samples stretched at a time: their float64 temporary stays in a core's cache."""


def read_image(path: str | Path) -> np.ndarray:
    """Read one grey or colour picture as it is stored.

    The format is found from the content, not from the name. TIFF is read with tifffile,
    everything else with Pillow.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG, TIFF, or any other format that Pillow reads. A file with several pages,
        frames or planes is refused, because picking one silently would hide the others; of a TIFF
        with several images of different sizes the first counts, at its full resolution.

    Returns
    -------
    ndarray
        Shape (row, col) or (row, col, channel) with 3 or 4 channels, in the dtype of the file;
        palettes, CMYK and 1-bit pictures come as uint8. An EXIF orientation is not applied: rows
        and columns are those of the file, as napari shows them.

    Raises
    ------
    InputError
        If there is no such file, or it is not a picture, damaged, too large, or not one grey,
        RGB or RGBA plane.
    """
    path = Path(path)
    with damage_told(path):
        image = _read_tiff(path) if is_tiff(path) else _read_with_pillow(path)
    check_image(image, str(path))
    return image


def is_tiff(path: Path) -> bool:
    """Tell from the first bytes of a file whether it is a TIFF.

    Raises
    ------
    InputError
        If there is no such file, or it is a folder, empty or not readable.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; give one image file.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error
    if not magic:
        raise InputError(f"{path} is empty (0 bytes).")
    return magic in _TIFF_MAGIC


@contextlib.contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises for a damaged file into one sentence.

    Raises
    ------
    InputError
        If anything is raised inside; an `InputError` passes unchanged.
    """
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path} does not fit into the memory of this machine.") from None
    except Exception as error:  # the decoders raise a dozen types for damaged files
        reason = ""
        if isinstance(error, OSError | ValueError):  # whose words mean something to a person
            reason = f" ({textwrap.shorten(str(error).strip(' .'), 120)})"
        raise InputError(f"{path} is damaged or not a picture{reason}.") from error


def check_numbers(dtype: np.dtype, name: str) -> None:
    """Refuse values that are no real numbers.

    Raises
    ------
    InputError
        For complex and other non-numeric values.
    """
    if dtype.kind not in "buif":
        what = "complex numbers" if dtype.kind == "c" else f"values of type {dtype}"
        raise InputError(f"{name} holds {what}; save real ones, e.g. the magnitude, as float32.")


def check_image(image: np.ndarray, name: str = "the image") -> None:
    """Refuse what is not one grey or colour picture of real numbers.

    Parameters
    ----------
    image : ndarray
        To be of shape (row, col) or (row, col, 1), (row, col, 3), (row, col, 4).
    name : str
        What the sentence calls it.

    Raises
    ------
    InputError
        For another shape, no pixels at all, or complex and other non-numeric values.
    """
    check_numbers(image.dtype, name)
    if image.ndim not in (2, 3):
        raise InputError(
            f"{name} has shape {image.shape}; (row, col) or (row, col, channel) is needed."
        )
    if image.size == 0:
        raise InputError(f"{name} has no pixels (shape {image.shape}).")
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        raise InputError(_odd_channels(name, image.shape[2]))


def to_rgb_uint8(image: np.ndarray) -> np.ndarray:
    """Bring any picture to the uint8 RGB that the network expects.

    8-bit pictures keep their values. Everything else is stretched linearly so that the 1st and
    99th percentile of the finite pixels become 0 and 255. One stretch serves all three channels,
    because a stretch for each would change the hues. Grey is repeated three times. A fourth
    channel (transparency, or infrared) is left out without compositing: what lies under
    transparent pixels is part of the picture. NaN becomes 0.

    Parameters
    ----------
    image : ndarray
        As `read_image` gives it.

    Returns
    -------
    ndarray
        uint8, shape (row, col, 3), contiguous.

    Raises
    ------
    InputError
        As `check_image`; or if no pixel is finite.

    Examples
    --------
    >>> import numpy as np
    >>> to_rgb_uint8(np.array([[0.0, 0.5, 1.0, np.nan]]))[..., 0]
    array([[  0, 128, 255,   0]], dtype=uint8)
    """
    check_image(image)
    if image.ndim == 2:
        image = image[..., np.newaxis]
    image = image[..., :3]
    if image.dtype == np.bool_:
        image = image.astype(np.uint8) * np.uint8(255)
    elif image.dtype != np.uint8:
        image = stretch_to_uint8(image, *stretch_limits(image))
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def stretch_limits(image: np.ndarray) -> tuple[float, float]:
    """Find the values that a stretch maps to black and white.

    Parameters
    ----------
    image : ndarray
        Real numbers of any shape.

    Returns
    -------
    (low, high) : tuple of float
        The 1st and 99th percentile over the finite values; the smallest and the largest where
        these two coincide, as in a dark frame with a few bright spots. Equal if the picture is
        constant.

    Raises
    ------
    InputError
        If no value is finite.

    Examples
    --------
    >>> import numpy as np
    >>> stretch_limits(np.arange(101.0))
    (1.0, 99.0)
    >>> spot = np.zeros((100, 100)); spot[0, 0] = 7
    >>> stretch_limits(spot)
    (0.0, 7.0)
    """
    finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image.ravel()
    if finite.size == 0:
        raise InputError("The image has no finite pixel: every value is NaN or infinite.")
    if finite.dtype == np.float16:
        finite = finite.astype(np.float32)
    low, high = np.percentile(finite, (1, 99), method="nearest")
    if low == high:
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def stretch_to_uint8(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map `low` to 0, `high` to 255 and what lies between linearly; clip the rest.

    Parameters
    ----------
    image : ndarray
        Real numbers of any shape with at least one axis; NaN gives 0.
    low, high : float
        Finite, with ``low <= high``; all 0 where they are equal.

    Returns
    -------
    ndarray
        uint8, the shape of `image`.

    Examples
    --------
    >>> import numpy as np
    >>> stretch_to_uint8(np.array([-1, 0, 5, 10, 999]), 0, 10)
    array([  0,   0, 128, 255, 255], dtype=uint8)
    """
    if image.dtype.kind in "iu" and image.dtype.itemsize == 2 and image.size > 2 * _WORDS.size:
        table = stretch_to_uint8(_WORDS.view(image.dtype.newbyteorder("=")), low, high)
        words = np.ascontiguousarray(image, image.dtype.newbyteorder("=")).view(np.uint16)
        return np.take(table, words)
    stretched = np.zeros(image.shape, dtype=np.uint8)
    half = high / 2 - low / 2  # halves, because high - low may overflow
    if half <= 0:
        return stretched
    step = max(1, _SAMPLES_AT_ONCE // max(1, image[0].size))
    for start in range(0, image.shape[0], step):
        block = image[start : start + step].astype(np.float64)
        if image.dtype.kind == "f":
            block[np.isnan(block)] = low
        np.clip(block, low, high, out=block)
        block /= 2
        block -= low / 2
        block /= half
        block *= 255
        block += 0.5
        stretched[start : start + step] = block  # which cuts off what is behind the point
    return stretched


def _read_tiff(path: Path) -> np.ndarray:
    with tifffile.TiffFile(path) as tiff:
        if not tiff.series:
            raise InputError(f"{path} is damaged or not a picture (no page in it).")
        series = tiff.series[0]
        page = tiff.pages.first
        _refuse_too_large(path, series.shape)
        if page.photometric in (tifffile.PHOTOMETRIC.SEPARATED, tifffile.PHOTOMETRIC.YCBCR):
            return _read_with_pillow(path)  # which turns CMYK and YCbCr into RGB
        image = series.asarray()
        image, axes = _drop_single_axes(image, series.axes)
        if axes == "SYX":
            image, axes = np.moveaxis(image, 0, -1), "YXS"
        if axes == "CYX" and image.shape[0] == 3:
            image, axes = np.moveaxis(image, 0, -1), "YXS"
        if axes == "CYX":
            raise InputError(_odd_channels(str(path), image.shape[0]))
        if axes not in ("YX", "YXS"):
            raise InputError(
                f"{path} holds a stack of shape {image.shape} (axes {axes}) and not one grey, RGB "
                "or RGBA picture: save the plane you want as a file of its own."
            )
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
            return (np.moveaxis(page.colormap, 0, -1)[image] >> 8).astype(np.uint8)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and image.dtype.kind in "bu":
            image = ~image
        if axes == "YXS" and image.shape[2] == 2 and page.extrasamples in ((1,), (2,)):
            image = image[..., 0]  # grey with transparency
        return image


def _drop_single_axes(image: np.ndarray, axes: str) -> tuple[np.ndarray, str]:
    """Remove axes of length 1 other than rows and columns."""
    keep = [i for i, axis in enumerate(axes) if image.shape[i] != 1 or axis in "YX"]
    return image.reshape([image.shape[i] for i in keep]), "".join(axes[i] for i in keep)


def _read_with_pillow(path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            # Pillow warns at half its limit; the limit itself is what counts here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
    except UnidentifiedImageError:
        raise InputError(
            f"{path} is not a picture that can be read (PNG, JPEG or TIFF is)."
        ) from None
    except Image.DecompressionBombError:
        raise InputError(_too_large(path)) from None
    with opened as picture:
        _refuse_too_large(path, (picture.height, picture.width))
        # A phone's JPEG may carry a second, auxiliary picture (MPO); the first is the photograph.
        if getattr(picture, "is_animated", False) and picture.format != "MPO":
            raise InputError(
                f"{path} holds {getattr(picture, 'n_frames', 'several')} frames and not one "
                "picture: save the one you want as a file of its own."
            )
        deep = _deep_rawmode(picture)
        if deep is not None:
            high = np.asarray(picture)
            with Image.open(path) as again:
                again.tile = [again.tile[0]._replace(args=deep)]
                low = np.asarray(again)
            return high.astype(np.uint16) << 8 | low
        if picture.mode == "LA":
            return np.asarray(picture.getchannel("L"))
        if picture.mode in ("PA", "La", "RGBa", "RGBX", "P", "CMYK", "YCbCr", "LAB", "HSV"):
            return np.asarray(picture.convert("RGB"))
        return np.asarray(picture)


def _deep_rawmode(picture: Any) -> str | None:
    """Tell whether Pillow would keep only the high bytes of a 16-bit colour PNG.

    It decodes such files with the raw mode "RGB;16B"; the same decoder under the name of the
    other byte order, returned here, gives the low bytes.
    """
    if picture.format != "PNG" or len(picture.tile) != 1:
        return None
    raw = picture.tile[0].args
    if raw in ("RGB;16B", "RGBA;16B"):
        return str(raw).replace("16B", "16L")
    if raw == "LA;16B":
        raise InputError(
            f"{Path(picture.filename)} is a 16-bit grey PNG with transparency, which is not "
            "supported: save it without transparency or as TIFF."
        )
    return None


def _refuse_too_large(path: Path, shape: tuple[int, ...]) -> None:
    # Three or four channels are forgiven: the limit is one on pixels.
    size = int(np.prod(shape, dtype=np.float64))
    if size > MAX_PIXELS * (shape[-1] if len(shape) > 2 and shape[-1] in (3, 4) else 1):
        raise InputError(_too_large(path))


def _odd_channels(name: str, channels: int) -> str:
    return (
        f"{name} has {channels} channels and is not grey, RGB or RGBA: save the one or the three "
        "channels that matter as a picture of their own."
    )


def _too_large(path: Path) -> str:
    return (
        f"{path} has more than {MAX_PIXELS // 1_000_000} million pixels, too many to be "
        "segmented whole: cut out a part of it."
    )
