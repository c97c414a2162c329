"""One frame of a DICOM file -> its pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from napari_sam.errors import InputError
from napari_sam.extras import need

__all__ = ["PixelForm", "decode_frame"]

_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))
_RLE = "1.2.840.10008.1.2.5"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", _BIG_ENDIAN, _DEFLATED)
ENCAPSULATED = (*_JPEG, *_JPEG_LOSSLESS, *_JPEG_LS, *_JPEG_2000, *_HTJ2K, _RLE)


@dataclass(frozen=True)
class PixelForm:
    """How the pixels of a DICOM file are stored; the names are those of DICOM's attributes.

    Parameters
    ----------
    path : Path
        The file.
    syntax : str
        The UID of the transfer syntax.
    frames, rows, cols, samples : int
        How many.
    bits, stored : int
        Allocated and stored for one sample: 8, 16 or 32, and at most as many.
    signed, planar : bool
        Pixel representation and planar configuration.
    photometric : str
        Such as ``"MONOCHROME2"``.
    offset, length : int
        Where in the file the value of PixelData begins, and its bytes; the length of an
        encapsulated one is -1.
    swapped : bool
        Whether bytes lie in words of the other byte order.
    palette : tuple or None
        The first value and the bytes of red, green and blue, uint8.
    """

    path: Path
    syntax: str
    frames: int
    rows: int
    cols: int
    samples: int
    bits: int
    stored: int
    signed: bool
    planar: bool
    photometric: str
    offset: int
    length: int
    swapped: bool = False
    palette: tuple[int, bytes, bytes, bytes] | None = None

    @property
    def dtype(self) -> np.dtype:
        """Of the samples as they are stored."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits // 8}")

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest value that can be stored."""
        if self.signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1

    @property
    def in_colour(self) -> bool:
        """Whether `decode_frame` gives red, green and blue."""
        return self.samples == 3 or self.palette is not None

    @property
    def frame_bytes(self) -> int:
        """How long a frame is that is not compressed."""
        samples = 2 if self.photometric == "YBR_FULL_422" and self.native else self.samples
        return self.rows * self.cols * samples * self.bits // 8

    @property
    def native(self) -> bool:
        """Whether the pixels lie in the file as they are."""
        return self.syntax in NATIVE


def decode_frame(form: PixelForm, number: int) -> np.ndarray:
    """Read one frame.

    Parameters
    ----------
    form : PixelForm
        Of the file.
    number : int
        Which frame, from 0.

    Returns
    -------
    ndarray
        Shape (row, col) in `form.dtype`, or (row, col, 3), uint8, red, green and blue.

    Raises
    ------
    InputError
        If the file is damaged, or is no longer there.
    """
    try:
        return _decoded(form, number)
    except FileNotFoundError:
        raise InputError(f"{form.path}: there is no such file any more.") from None
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"A slice of {form.path} does not fit into memory.") from None
    except Exception as error:  # decoders raise what they like for damaged pixels
        where = f"frame {number} of " if form.frames > 1 else ""
        raise InputError(
            f"{where}{form.path} cannot be decoded ({type(error).__name__}): the file is damaged."
        ) from error


def _decoded(form: PixelForm, number: int) -> np.ndarray:
    data = _bytes_of(form, number)
    colours = form.photometric
    if form.native:
        frame = _native(form, data)
    else:
        frame, colours = _decompressed(form, data)
    shape = (form.rows, form.cols) if form.samples == 1 else (form.rows, form.cols, form.samples)
    if frame.size != np.prod(shape):
        raise ValueError("another number of pixels")
    frame = _in_type(frame.reshape(shape), form)
    if form.palette is not None:
        return _coloured(frame, form.palette)
    if form.samples == 3:
        if form.bits > 8:
            frame = frame >> max(0, form.stored - 8)
        frame = frame.astype(np.uint8)
        if colours.startswith("YBR_FULL"):
            frame = _ybr_to_rgb(frame)
    return frame


def _bytes_of(form: PixelForm, number: int) -> bytes:
    if form.syntax == _DEFLATED:
        whole = need("pydicom", "medical").dcmread(form.path, specific_tags=["PixelData"])
        value: bytes = whole.PixelData
        return value[number * form.frame_bytes : (number + 1) * form.frame_bytes]
    with form.path.open("rb") as file:
        if form.native:
            start = number * form.frame_bytes
            file.seek(form.offset + start - start % 2)
            data = file.read(form.frame_bytes + start % 2 + form.swapped)
            if form.swapped:
                words = np.frombuffer(data[: len(data) // 2 * 2], np.uint16)
                data = words.byteswap().tobytes()
            return data[start % 2 : start % 2 + form.frame_bytes]
        file.seek(form.offset)
        encaps = need("pydicom.encaps", "medical")
        frame: bytes = encaps.get_frame(file, number, number_of_frames=form.frames)
        return frame


def _native(form: PixelForm, data: bytes) -> np.ndarray:
    if len(data) < form.frame_bytes:
        raise InputError(f"{form.path} is shorter than it says: it was not copied whole.")
    flat = np.frombuffer(data, form.dtype.newbyteorder("<"))
    if form.syntax == _BIG_ENDIAN:
        flat = np.frombuffer(data, form.dtype.newbyteorder(">"))
    flat = flat.astype(form.dtype)
    if form.photometric == "YBR_FULL_422":
        # Two pixels share their colour: Y Y B R.
        pairs = flat.reshape(-1, 4)
        flat = np.stack([pairs[:, [0, 2, 3]], pairs[:, [1, 2, 3]]], 1).ravel()
    elif form.samples > 1 and form.planar:
        flat = flat.reshape(form.samples, -1).T
    return flat


def _decompressed(form: PixelForm, data: bytes) -> tuple[np.ndarray, str]:
    """Return the pixels and which colours they are."""
    colours = form.photometric
    if form.syntax == _RLE:
        unsigned = np.dtype(f"u{form.bits // 8}")
        # Their size is said by nothing but the header: what is longer does not fit.
        planes = bytearray(form.rows * form.cols * form.samples * unsigned.itemsize)
        imagecodecs.dicomrle_decode(data, unsigned, out=planes)
        return np.frombuffer(planes, unsigned).reshape(form.samples, -1).T, colours
    if _coded_size(data) != (form.rows, form.cols):
        raise InputError(f"{form.path} is damaged: its pixels have another size than it says.")
    if form.syntax in _JPEG_2000 + _HTJ2K:
        decode: Any = (
            imagecodecs.htj2k_decode if form.syntax in _HTJ2K else (imagecodecs.jpeg2k_decode)
        )
        frame = decode(data)
        colours = "RGB" if colours in ("YBR_RCT", "YBR_ICT") else colours
    elif form.syntax in _JPEG_LS:
        # Without an end CharLS looks for one behind the data, for many seconds.
        frame = imagecodecs.jpegls_decode(data + b"\xff\xd9")
    elif form.syntax in _JPEG_LOSSLESS:
        frame = (
            imagecodecs.ljpeg_decode(data)
            if form.samples == 1
            else (imagecodecs.jpegsof3_decode(data))
        )
    elif form.samples == 1:
        frame = imagecodecs.jpeg8_decode(data)
    else:
        # Where the stream itself says nothing, DICOM's word counts; libjpeg would guess.
        told = b"Adobe" in data[:512] or b"JFIF" in data[:64]
        given = None if told else "RGB" if colours == "RGB" else "YCBCR"
        frame = imagecodecs.jpeg8_decode(data, colorspace=given, outcolorspace="RGB")
        colours = "RGB"
    if form.samples > 1 and frame.ndim == 3 and frame.shape[0] == form.samples != frame.shape[2]:
        frame = np.moveaxis(frame, 0, -1)
    return frame, colours


def _coded_size(data: bytes) -> tuple[int, int]:
    """Read (rows, cols) from the header of a stream, before a decoder makes room for them."""
    if data[:4] == b"\xff\x4f\xff\x51":  # JPEG 2000
        x1, y1, x0, y0 = (int.from_bytes(data[n : n + 4], "big") for n in range(8, 24, 4))
        return y1 - y0, x1 - x0
    if data[4:8] == b"jP  ":  # the same in a file of its own
        return _coded_size(data[data.index(b"\xff\x4f\xff\x51") :])
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a byte that fills
            place += 1
        elif (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            size = data[place + 5 : place + 9]
            return int.from_bytes(size[:2], "big"), int.from_bytes(size[2:], "big")
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise ValueError("no size")


def _in_type(frame: np.ndarray, form: PixelForm) -> np.ndarray:
    """Take the bits that are stored, with their sign; what lies above them is none of it."""
    unsigned = np.dtype(f"u{form.bits // 8}")
    if frame.dtype.itemsize != unsigned.itemsize:
        frame = frame.astype(np.int64).astype(unsigned)
    left = form.bits - form.stored
    whole = frame.view(unsigned)
    if left == 0:
        return whole.view(form.dtype)
    shifted = (whole << unsigned.type(left)).view(form.dtype)
    result: np.ndarray = shifted >> form.dtype.type(left)
    return result


def _coloured(frame: np.ndarray, palette: tuple[int, bytes, bytes, bytes]) -> np.ndarray:
    first, *tables = palette
    table = np.stack([np.frombuffer(colour, np.uint8) for colour in tables], -1)
    numbers = np.clip(frame.astype(np.int64) - first, 0, len(table) - 1)
    result: np.ndarray = table[numbers]
    return result


def _ybr_to_rgb(frame: np.ndarray) -> np.ndarray:
    """Turn full-range luminance and chrominance into colours (DICOM PS3.3 C.7.6.3.1.2)."""
    y, blue, red = np.moveaxis(frame.astype(np.float32), -1, 0)
    blue, red = blue - 128, red - 128
    colours = (y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue)
    result: np.ndarray = np.clip(np.rint(np.stack(colours, -1)), 0, 255).astype(np.uint8)
    return result
