"""Files of microscopes, made by hand from what is published of their formats."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

CZI_RAW, CZI_JPEG_XR, CZI_ZSTD, CZI_ZSTD_HEADED = 0, 4, 5, 6


def write_czi(
    path: Path,
    tiles: Sequence[tuple[dict[str, int], np.ndarray]],
    *,
    compression: int = CZI_RAW,
    zoom: Sequence[int] | None = None,
    xml: str = "",
) -> None:
    """Write blocks of pixels, (row, col) or (row, col, 3), at places such as {"X": 0, "C": 1}."""
    content = bytearray(32 + 512)
    entries = []
    for number, (place, pixels) in enumerate(tiles):
        factor = 1 if zoom is None else zoom[number]
        rows, cols = pixels.shape[:2]
        entry = _czi_entry(place, pixels, len(content), compression, factor, (rows, cols))
        entries.append(entry)
        data = _czi_pixels(pixels, compression)
        body = struct.pack("<iiq", 0, 0, len(data)) + entry
        body += bytes(max(0, 256 - len(body))) + data
        content += _czi_segment(b"ZISRAWSUBBLOCK", body)
    directory = len(content)
    body = struct.pack("<i", len(entries)) + bytes(124) + b"".join(entries)
    content += _czi_segment(b"ZISRAWDIRECTORY", body)
    metadata = len(content)
    text = xml.encode()
    content += _czi_segment(b"ZISRAWMETADATA", struct.pack("<ii", len(text), 0) + bytes(248) + text)
    about = struct.pack("<iiii16s16siqqiq", 1, 0, 0, 0, b"", b"", 0, directory, metadata, 0, 0)
    content[: 32 + 512] = _czi_segment(b"ZISRAWFILE", about.ljust(512, b"\0"))
    path.write_bytes(content)


def czi_xml(
    channels: Sequence[str] = (), scenes: Sequence[str] = (), meters: dict[str, float] | None = None
) -> str:
    listed = "".join(f'<Channel Id="Channel:{n}" Name="{c}"/>' for n, c in enumerate(channels))
    named = "".join(f'<Scene Index="{n}" Name="{name}"/>' for n, name in enumerate(scenes))
    steps = "".join(
        f'<Distance Id="{axis}"><Value>{value!r}</Value></Distance>'
        for axis, value in (meters or {}).items()
    )
    return (
        "<ImageDocument><Metadata><Information><Image><Dimensions>"
        f"<Channels>{listed}</Channels><S><Scenes>{named}</Scenes></S>"
        "</Dimensions></Image></Information>"
        f"<Scaling><Items>{steps}</Items></Scaling></Metadata></ImageDocument>"
    )


def _czi_segment(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<16sqq", kind, len(body), len(body)) + body


def _czi_entry(
    place: dict[str, int],
    pixels: np.ndarray,
    position: int,
    compression: int,
    factor: int,
    stored: tuple[int, int],
) -> bytes:
    kinds: dict[tuple[Any, int], int] = {("u1", 2): 0, ("u2", 2): 1, ("f4", 2): 2, ("u1", 3): 3}
    kind = kinds[(pixels.dtype.str[1:], pixels.ndim)]
    sides = {"X": stored[1], "Y": stored[0]}
    dimensions = b""
    for axis, start in {"X": 0, "Y": 0, **place}.items():
        kept = sides.get(axis, 1)
        size = kept * factor if axis in sides else 1
        dimensions += struct.pack("<4siifi", axis.encode(), start, size, 0.0, kept)
    count = len({"X": 0, "Y": 0, **place})
    pyramid = bytes([int(factor > 1) * 2]) + bytes(5)
    return struct.pack("<2siqii6si", b"DV", kind, position, 0, compression, pyramid, count) + (
        dimensions
    )


def _czi_pixels(pixels: np.ndarray, compression: int) -> bytes:
    if compression == CZI_JPEG_XR:
        return bytes(imagecodecs.jpegxr_encode(pixels, level=1.0))
    stored = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    raw = np.ascontiguousarray(stored).tobytes()
    if compression == CZI_ZSTD:
        return bytes(imagecodecs.zstd_encode(raw))
    if compression == CZI_ZSTD_HEADED:
        split = np.frombuffer(raw, np.uint8).reshape(-1, 2).T.tobytes()
        return bytes([3, 1, 1]) + bytes(imagecodecs.zstd_encode(split))
    return raw


def write_lif(path: Path, images: Sequence[tuple[str, str, np.ndarray]]) -> None:
    """Write images (name, axes of TZCYX as they are stored, pixels), a micrometer apart."""
    elements, blocks = "", b""
    for number, (name, axes, pixels) in enumerate(images):
        elements += _lif_element(name, axes, pixels, number)
        identity = f"MemBlock_{number}".encode("utf-16-le")
        raw = np.ascontiguousarray(pixels).tobytes()
        head = struct.pack("<BQBI", 0x2A, len(raw), 0x2A, len(identity) // 2) + identity
        blocks += struct.pack("<II", 0x70, len(head)) + head + raw
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="made"><Children>'
        f"{elements}</Children></Element></LMSDataContainerHeader>"
    ).encode("utf-16-le")
    head = struct.pack("<IIBI", 0x70, 5 + len(xml), 0x2A, len(xml) // 2)
    path.write_bytes(head + xml + blocks)


def _lif_element(name: str, axes: str, pixels: np.ndarray, number: int) -> str:
    strides = dict(zip(axes, np.ascontiguousarray(pixels).strides, strict=True))
    sizes = dict(zip(axes, pixels.shape, strict=True))
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * pixels.itemsize}" '
        'NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="Gray" '
        f'IsLUTInverted="0" BytesInc="{channel * strides.get("C", 0)}" BitInc="0">'
        f"<ChannelProperty><Key>DyeName</Key><Value>dye {channel}</Value></ChannelProperty>"
        "</ChannelDescription>"
        for channel in range(sizes.get("C", 1))
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{"?XYZT?????M".index(axis)}" Origin="0" '
        f'NumberOfElements="{sizes[axis]}" Length="{(sizes[axis] - 1) * 1e-6!r}" '
        f'Unit="{"m" if axis in "XYZ" else "s"}" BytesInc="{strides[axis]}" BitInc="0"/>'
        for axis in axes
        if axis != "C"
    )
    return (
        f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory MemoryBlockID="MemBlock_{number}" Size="{pixels.nbytes}"/></Element>'
    )


def write_nd2(
    path: Path,
    frames: np.ndarray,
    loops: str,
    *,
    positions: Sequence[str] = (),
    frames_there: int | None = None,
) -> None:
    """Write frames (axes of `loops`, row, col, channel) as NIS-Elements 3 did, in XML."""
    rows, cols, channels = frames.shape[-3:]
    attributes = {
        "uiWidth": cols,
        "uiHeight": rows,
        "uiComp": channels,
        "uiBpcInMemory": 8 * frames.itemsize,
        "uiBpcSignificant": 8 * frames.itemsize,
        "uiSequenceCount": frames_there or int(np.prod(frames.shape[:-3])),
        "uiWidthBytes": cols * channels * frames.itemsize,
        "uiVirtualComponents": channels,
        "eCompression": 2,
        "uiTileWidth": 0,
        "uiTileHeight": 0,
    }
    planes: dict[str, Any] = {
        f"a{number}": {
            "sDescription": f"channel {number}",
            "uiCompCount": 1,
            "uiColor": 255,
            "pFluorescentProbe": {"m_sName": "dye"},
        }
        for number in range(channels)
    }
    metadata: dict[str, Any] = {
        "dCalibration": 0.25,
        "bCalibrated": True,
        "sPicturePlanes": {"uiCount": channels, "sPlane": planes, "uiCompCount": channels},
    }
    content = struct.pack("<IIQ32s64s", 0x0ABECEDA, 32, 64, _ND2_START, b"Ver2.1")
    chunks: dict[bytes, tuple[int, int]] = {}
    written = [
        (b"ImageAttributes!", _nd2_xml(attributes)),
        (b"ImageMetadataSeq|0!", _nd2_xml(metadata)),
    ]
    if loops:
        experiment = _nd2_loops(loops, frames.shape[: len(loops)], positions)
        written.append((b"ImageMetadata!", _nd2_xml(experiment)))
    for number, frame in enumerate(frames.reshape(-1, rows, cols, channels)[:frames_there]):
        raw = bytes(8) + np.ascontiguousarray(frame).tobytes()
        written.append((f"ImageDataSeq|{number}!".encode(), raw))
    for name, data in written:
        chunks[name] = (len(content), len(data))
        # Pixels begin 4096 bytes after their chunk: header, name, and a time of 8 bytes.
        room = 4096 - 16 - 8
        content += struct.pack("<IIQ", 0x0ABECEDA, room, len(data)) + name.ljust(room, b"\0") + data
    where = len(content)
    listed = b"".join(name + struct.pack("<QQ", *place) for name, place in chunks.items())
    listed += _ND2_MAP + struct.pack("<Q", where)
    content += struct.pack("<IIQ", 0x0ABECEDA, 32, len(listed)) + _ND2_FILEMAP + listed
    path.write_bytes(content)


_ND2_START = b"ND2 FILE SIGNATURE CHUNK NAME01!"
_ND2_FILEMAP = b"ND2 FILEMAP SIGNATURE NAME 0001!"
_ND2_MAP = b"ND2 CHUNK MAP SIGNATURE 0000001!"


def _nd2_loops(loops: str, counts: Sequence[int], positions: Sequence[str]) -> dict[str, Any]:
    axis, count = loops[0], counts[0]
    pars: dict[str, Any] = {"uiCount": count}
    if axis == "T":
        pars |= {"dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}
    elif axis == "Z":
        pars |= {"dZLow": 0.0, "dZHigh": 2.0 * (count - 1), "dZStep": 2.0, "dZHome": 0.0}
    else:
        points = {
            f"p{n}": {"dPosX": 0.0, "dPosY": 0.0, "dPosZ": 0.0, "dPosName": name}
            for n, name in enumerate(positions)
        }
        pars |= {"Points": points}
    told: dict[str, Any] = {"eType": {"T": 1, "P": 2, "Z": 4}[axis], "uLoopPars": pars}
    if axis == "P":
        told["pItemValid"] = {f"p{n}": True for n in range(count)}
    if loops[1:]:
        told["ppNextLevelEx"] = {"i0": _nd2_loops(loops[1:], counts[1:], positions)}
        told["uiNextLevelCount"] = 1
    return told


def _nd2_xml(values: dict[str, Any]) -> bytes:
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}

    def node(name: str, value: Any) -> str:
        if isinstance(value, dict):
            return f"<{name}>{''.join(node(*item) for item in value.items())}</{name}>"
        text = str(value).lower() if isinstance(value, bool) else value
        return f'<{name} runtype="{kinds[type(value)]}" value="{text}"/>'

    return ("<variant>" + "".join(node(*item) for item in values.items()) + "</variant>").encode()
