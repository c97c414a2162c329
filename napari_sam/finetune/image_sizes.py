"""The size of a picture on disk, and whether its file is whole, without reading it all."""

from pathlib import Path

from napari_sam.files.images import MAX_PIXELS, read_image

__all__ = ["image_size"]


def image_size(path: Path) -> tuple[int, int]:
    """Return height and width of an image file; find most damage, quickly.

    PNG is read but not decoded (its checksums are compared), JPEG decoded at an eighth of its size,
    of TIFF the directory is compared with the length of the file. Whatever is unusual is read
    whole.

    Parameters
    ----------
    path : Path
        As `read_image` takes it.

    Returns
    -------
    (height, width) : tuple of int

    Raises
    ------
    InputError
        As `read_image`.
    """
    try:
        size = _quick_size(path)
    except Exception:  # the decoders raise a dozen types; `read_image` says what is wrong
        size = None
    if size is None:
        height, width = read_image(path).shape[:2]
        return height, width
    return size


def _quick_size(path: Path) -> tuple[int, int] | None:
    """Return the size, None if only reading the file tells; any exception if it is damaged."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return _tiff_size(path)
    from PIL import Image

    with Image.open(path) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS or getattr(picture, "is_animated", False):
            return None
        if picture.format == "PNG":
            picture.verify()
        elif picture.format == "JPEG":
            picture.draft(None, (max(1, width // 8), max(1, height // 8)))
            picture.load()
        else:
            return None
    return height, width


def _tiff_size(path: Path) -> tuple[int, int] | None:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        series, page = tiff.series[0], tiff.pages.first
        if series.axes not in ("YX", "YXS") or series.dtype is None:
            return None
        channels = 1 if series.axes == "YX" else series.shape[2]
        plain = series.dtype.kind in "buif" and channels in (1, 3, 4)
        length = path.stat().st_size
        whole = all(
            offset + count <= length
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
        if not plain or not whole or series.shape[0] * series.shape[1] > MAX_PIXELS:
            return None
        return int(series.shape[0]), int(series.shape[1])
