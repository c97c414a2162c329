"""CZI, the files of ZEISS microscopes: mosaics with levels, read tile by tile."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.images import damage_told
from napari_sam.files.microscopy.czi_blocks import (
    CziBlock,
    decode,
    map_bytes,
    read_blocks,
    read_metadata,
)
from napari_sam.files.microscopy.parts import choose_part, unlike
from napari_sam.files.microscopy.stacked import StackedPlanes
from napari_sam.scenes.sources import LazyFile, PixelSize, Source, colour_names

__all__ = ["czi_parts", "open_czi"]

_STACKED = "TCZ"
"""The dimensions that become axes, beside rows and columns."""

_PLACED = frozenset("XYSM") | frozenset(_STACKED)

_KEPT = 8
"""Decoded blocks that are kept, as neighbouring windows share them."""


def czi_parts(path: Path | str) -> tuple[str, ...]:
    """Name the scenes of a CZI file; one where nothing tells them apart.

    Raises
    ------
    InputError
        If it is missing or damaged.
    """
    content = map_bytes(Path(path))
    blocks = read_blocks(content, Path(path))
    return tuple(_scenes(blocks, _metadata(content, Path(path))))


def open_czi(path: Path | str, part: str | None) -> Source:
    """Open one scene of a CZI file.

    Parameters
    ----------
    path : Path
        Of the file.
    part : str or None
        A scene, as `czi_parts` names it; None for the only one.

    Returns
    -------
    Source
        With the axes T, C, Z that are longer than one, and coarser levels where ZEN stored them
        exactly half as fine each. Where no tile of a mosaic lies, pixels are 0.

    Raises
    ------
    InputError
        If it is missing, damaged or compressed in a way that is not read, or holds several scenes
        and none is chosen.
    """
    path = Path(path)
    with damage_told(path):
        content = map_bytes(path)
        about = _metadata(content, path)
        scenes = _scenes(read_blocks(content, path), about)
        part = choose_part(part, tuple(scenes), path, "scenes")
        levels = _levels(scenes[part], path)
        full = levels[0]
        rest = {dimension for block in scenes[part] for dimension in block.start} - _PLACED
        left_out = [
            letter
            for letter in sorted(rest)
            if len({block.start.get(letter, 0) for block in scenes[part]}) > 1
        ]
        notes = tuple(
            f"The file has several images along the axis {letter}; the first is shown."
            for letter in left_out
        )
        names = _channel_names(about, full.channels)
        size, depth = _sizes(about)
        axes = full.axes
        if axes.endswith("S"):
            names = colour_names(full.shape[-1])
        arrays = tuple(
            LazyFile(_open_level, path, part, number, shape=level.shape, dtype=level.dtype)
            for number, level in enumerate(levels)
        )
        return Source(str(path), arrays, axes, names, size, depth=depth, notes=notes)


class _Level:
    """The blocks of one resolution of a scene, by where they lie."""

    def __init__(
        self, path: Path, blocks: Sequence[CziBlock], factor: int, box: tuple[int, int, int, int]
    ) -> None:
        self._path, self._factor, self._corner = path, factor, box[:2]
        lengths = {axis: sorted({_at(block, axis) for block in blocks}) for axis in _STACKED}
        self.channels = lengths["C"]
        stacked = [axis for axis in _STACKED if len(lengths[axis]) > 1]
        self.dtype, samples = blocks[0].dtype, blocks[0].samples
        self.axes = "".join(stacked) + ("YXS" if samples > 1 else "YX")
        sides = -(-(box[2] - box[0]) // factor), -(-(box[3] - box[1]) // factor)
        inner = (*sides, samples) if samples > 1 else sides
        self.shape = (*(len(lengths[axis]) for axis in stacked), *inner)
        self._by_place: dict[tuple[int, ...], list[CziBlock]] = defaultdict(list)
        # Tiles of a mosaic overlap: later ones lie over earlier ones.
        for block in sorted(blocks, key=lambda block: _at(block, "M")):
            place = tuple(lengths[axis].index(_at(block, axis)) for axis in stacked)
            self._by_place[place].append(block)
        self._content = map_bytes(path)
        self._decode = functools.lru_cache(_KEPT)(
            lambda block: decode(self._content, block, self._path)
        )

    def array(self) -> StackedPlanes:
        """Return it as an array."""
        return StackedPlanes(self.axes, self.shape, self.dtype, self._read)

    def _read(self, place: tuple[int, ...], rows: slice, cols: slice) -> np.ndarray:
        samples = self.shape[-1:] if self.axes.endswith("S") else (1,)
        shape = rows.stop - rows.start, cols.stop - cols.start
        plane = np.zeros((*shape, *samples), self.dtype)
        for block in self._by_place.get(place, ()):
            inside, below = [], []
            for axis, corner, length, window in zip(
                "YX", self._corner, block.stored, (rows, cols), strict=True
            ):
                start = (block.start[axis] - corner) // self._factor
                first, stop = max(start, window.start), min(start + length, window.stop)
                inside.append(slice(first - window.start, max(first, stop) - window.start))
                below.append(slice(first - start, max(first, stop) - start))
            if all(side.stop > side.start for side in inside):
                plane[tuple(inside)] = self._decode(block)[tuple(below)]
        return plane if self.axes.endswith("S") else plane[..., 0]


def _open_level(path: Path, part: str, number: int) -> StackedPlanes:
    content = map_bytes(path)
    scenes = _scenes(read_blocks(content, path), _metadata(content, path))
    return _levels(scenes[part], path)[number].array()


def _scenes(
    blocks: Sequence[CziBlock], about: ElementTree.Element | None
) -> dict[str, list[CziBlock]]:
    """Divide blocks by scene, under the names that the metadata give them."""
    numbers = sorted({_at(block, "S") for block in blocks})
    names = {}
    for scene in () if about is None else about.iterfind(".//Dimensions/S/Scenes/Scene"):
        if (scene.get("Index") or "").isdigit():
            names[int(scene.attrib["Index"])] = scene.get("Name") or ""
    called = unlike([names.get(number, "") for number in numbers])
    scenes = dict(zip(numbers, called, strict=True))
    found: dict[str, list[CziBlock]] = {name: [] for name in called}
    for block in blocks:
        found[scenes[_at(block, "S")]].append(block)
    return found


def _levels(blocks: Sequence[CziBlock], path: Path) -> tuple[_Level, ...]:
    """Find the resolutions of a scene that are finer than the next by two."""
    # Of axes that no image here has, such as the phases of structured light, the first counts.
    lowest: dict[str, int] = {}
    for block in blocks:
        for axis, start in block.start.items():
            lowest[axis] = min(start, lowest.get(axis, start))
    by_factor: dict[int, list[CziBlock]] = defaultdict(list)
    for block in blocks:
        if all(block.start[axis] == lowest[axis] for axis in block.start.keys() - _PLACED):
            by_factor[_factor(block)].append(block)
    full = by_factor.get(1)
    if not full:
        raise InputError(f"{path} is a damaged CZI file: its full resolution is missing.")
    kinds = {(block.dtype, block.samples) for some in by_factor.values() for block in some}
    if len(kinds) > 1:
        raise InputError(
            f"{path} mixes pixels of several types, such as colour and fluorescence: export the "
            "channels that belong together from ZEN."
        )
    box = (
        min(block.start["Y"] for block in full),
        min(block.start["X"] for block in full),
        max(block.start["Y"] + block.size["Y"] for block in full),
        max(block.start["X"] + block.size["X"] for block in full),
    )
    levels = [_Level(path, full, 1, box)]
    for factor in sorted(by_factor.keys() - {0, 1}):
        if factor & (factor - 1) == 0:
            level = _Level(path, by_factor[factor], factor, box)
            if level.axes == levels[0].axes:
                levels.append(level)
    return tuple(levels)


def _factor(block: CziBlock) -> int:
    """Return how much coarser a block is; 0 if that is no whole number."""
    for factor in (1, *(1 << power for power in range(1, 24))):
        sides = zip((block.size["Y"], block.size["X"]), block.stored, strict=True)
        if all(abs(size / factor - stored) < 1 for size, stored in sides):
            return factor
    return 0


def _at(block: CziBlock, axis: str) -> int:
    return block.start.get(axis, 0)


def _metadata(content: np.ndarray, path: Path) -> ElementTree.Element | None:
    """Read the XML; None where there is none, or it is damaged: the pixels do without."""
    text = read_metadata(content, path).rstrip(b"\0")
    try:
        return ElementTree.fromstring(text) if text else None
    except ElementTree.ParseError:
        return None


def _channel_names(about: ElementTree.Element | None, numbers: Sequence[int]) -> tuple[str, ...]:
    described = () if about is None else about.findall(".//Image/Dimensions/Channels/Channel")
    names = [channel.get("Name") or channel.get("Id") or "" for channel in described]
    if any(number >= len(names) or number < 0 or not names[number] for number in numbers):
        return ()
    return tuple(names[number] for number in numbers)


def _sizes(about: ElementTree.Element | None) -> tuple[PixelSize | None, float | None]:
    """Return the size of a pixel and the distance between planes, in micrometers."""
    found = {}
    for distance in () if about is None else about.iterfind(".//Scaling/Items/Distance"):
        try:
            step = float(distance.findtext("Value") or "nan") * 1e6  # CZI tells metres
        except ValueError:
            continue
        if 0 < step < np.inf:
            found[distance.get("Id")] = round(step, 12)
    if "X" not in found or "Y" not in found:
        return None, None
    return PixelSize(found["Y"], found["X"], "micrometer"), found.get("Z")
