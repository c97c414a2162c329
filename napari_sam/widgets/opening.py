"""An image of any size and kind -> layers of napari, read where they are looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pint
from napari.utils.notifications import show_info

from napari_sam.errors import SeveralParts
from napari_sam.scene import PixelSize, Scene, open_scene
from napari_sam.scenes.axes import LazyArray, find_axes
from napari_sam.scenes.lazy import Lazy
from napari_sam.scenes.opening import open_source
from napari_sam.scenes.sources import Source

if TYPE_CHECKING:
    from napari.types import LayerData

__all__ = ["image_layers", "layers_of_parts", "tell_notes"]

_PARTS = 12
"""So many images of one file are opened at once."""

_LARGE, _SMALL = 4096, 1024
"""Rows or columns from which an image without levels is shown with computed ones, down to which."""

_COLOURMAPS = ("green", "magenta", "cyan", "yellow", "red", "blue")


def image_layers(path: str | Path, part: str | None = None) -> list[LayerData]:
    """Open an image for napari; nothing is read but what tells the contrast.

    Parameters
    ----------
    path : path or URL
        As `napari_sam.scene.open_scene` takes it.
    part : str, optional
        Which image of a file that holds several.

    Returns
    -------
    list of LayerData
        An image layer for a grey or a colour image; of others one for each channel. They have the
        levels of the file, or computed ones where it is large and has none. What a colour image has
        besides, such as infrared, comes hidden. Their scale is the size of a pixel and the distance
        of planes, where the file tells them in a unit of length. Their metadata say what they show
        of which image (``image_path``, ``image_axes``, ``image_channels``), as long as their data
        is what it was (``image_data``); where it lies in a patient (``image_grid``) or on a map
        (``image_georeference``), and what is to be known of the file (``image_notes``).

    Raises
    ------
    InputError
        If it cannot be opened.
    """
    source, name = open_source(path, part), _name(path)
    axes = find_axes(tuple(source.levels[0].shape), source.axes, source.name)
    sizes = dict(zip(axes, source.levels[0].shape, strict=True))
    samples = sizes.get("S", 1)
    count = samples * sizes.get("C", 1)
    in_colour = samples >= 3 and count == samples
    layers = []
    image = {
        "image_path": os.fspath(path),
        "image_part": part,
        "image_axes": axes,
        # What is a colour is no choice.
        "image_channel_count": 1 if in_colour and count <= 4 else count,
        "image_pixel_size": _length_of_a_pixel(source.pixel_size),
        "image_depth": source.depth,
        "image_grid": source.grid,
        "image_georeference": source.georeference,
        "image_notes": source.notes,
    }
    name = name if part is None else f"{name}, {part}"
    if in_colour:
        scene = open_scene(source, z=sizes.get("Z", 1) // 2)
        layers.append(_layer(name, image, (0, 1, 2), _colour(source, axes, scene), rgb=True))
    numbers = [
        n for n in range(3 if in_colour else 0, count) if count > samples or n != source.alpha
    ]
    for place, number in enumerate(numbers):
        scene = open_scene(source, channels=number, z=sizes.get("Z", 1) // 2)
        options: dict[str, Any] = {"contrast_limits": _limits(scene)}
        alone = len(numbers) == 1 and not in_colour
        if in_colour:
            options["visible"] = False
        elif not alone:
            colour = _COLOURMAPS[place % len(_COLOURMAPS)]
            options |= {"colormap": colour, "blending": "additive"}
        called = name if alone else f"{name}, {_channel(scene.channels[0])}"
        data = _grey(source, axes, divmod(number, samples), scene)
        layers.append(_layer(called, image, number, data, **options))
    return layers


def layers_of_parts(path: str | Path) -> list[LayerData]:
    """Open the images of a file as `image_layers` does; of several the first is seen.

    Raises
    ------
    InputError
        If they cannot be opened.
    """
    try:
        return image_layers(path)
    except SeveralParts as several:
        parts = several.parts
    layers: list[LayerData] = []
    for number, part in enumerate(parts[:_PARTS]):
        made = image_layers(path, part)
        for _, options, _ in made if number else ():
            options["visible"] = False
        layers += made
    if len(parts) > _PARTS:
        show_info(
            f"{_name(path)} holds {len(parts)} images, of which {_PARTS} are opened: open others "
            f"with `napari-sam open FILE --part NAME`; they are {', '.join(parts[_PARTS:])}."
        )
    return layers


def tell_notes(layers: Iterable[LayerData]) -> None:
    """Say what is to be known of files that were opened: once, however many layers they have."""
    metadata = [options.get("metadata", {}) for _, options, _ in layers]
    for image, notes in {m.get("image_path"): m.get("image_notes", ()) for m in metadata}.items():
        if notes:
            show_info(f"{_name(image)}: {' '.join(notes)}")


def _layer(
    name: str,
    image: dict[str, Any],
    channels: int | tuple[int, ...],
    levels: list[Lazy],
    **options: Any,
) -> LayerData:
    data = levels if len(levels) > 1 else levels[0]
    letters = _order(image["image_axes"]).removesuffix("S").lower()
    if (size := image["image_pixel_size"]) is not None:
        depth = image["image_depth"]
        sides = {"y": (size.rows, size.unit), "x": (size.cols, size.unit)}
        if depth is not None:
            sides["z"] = (depth, size.unit)
        shown = [sides.get(letter, (1.0, "pixel")) for letter in letters]
        options["scale"] = tuple(side for side, _ in shown)
        options["units"] = tuple(unit for _, unit in shown)
    return (
        data,
        {
            "name": name,
            "multiscale": len(levels) > 1,
            "axis_labels": tuple(letters),
            "metadata": {**image, "image_channels": channels, "image_data": data},
            **options,
        },
        "image",
    )


def _length_of_a_pixel(size: PixelSize | None) -> PixelSize | None:
    """Return the size of a pixel if it is a length, under the name that napari has for its unit."""
    if size is None:
        return None
    try:
        unit = pint.get_application_registry().Unit(size.unit)
    except (pint.UndefinedUnitError, ValueError, SyntaxError, TypeError):
        return None  # a file may say anything
    if not unit.is_compatible_with("meter"):
        return None
    return PixelSize(size.rows, size.cols, str(unit))


def _colour(source: Source, axes: str, scene: Scene) -> list[Lazy]:
    """Show bytes as they are, and other numbers as the model sees them: stretched."""
    finish = None if scene.dtype == np.uint8 else partial(scene.normalisation.apply, nodata=None)
    if _needs_levels(source, axes):
        read = scene.read if finish is None else scene.read_rgb
        return [_computed(scene, number, read, (3,)) for number in _numbers(scene)]
    # napari shows bytes with an alpha channel as they are.
    samples = 4 if finish is None and source.alpha == 3 else 3
    where: dict[str, int | slice] = {"C": 0, "S": slice(0, samples)}
    return [_stored(level, axes, where, finish) for level in _levels(source)]


def _grey(source: Source, axes: str, place: tuple[int, int], scene: Scene) -> list[Lazy]:
    if _needs_levels(source, axes):
        return [_computed(scene, number, scene.read, ()) for number in _numbers(scene)]
    where: dict[str, int | slice] = {"C": place[0], "S": place[1]}
    return [_stored(level, axes, where, None) for level in _levels(source)]


def _levels(source: Source) -> list[LazyArray]:
    """Return the stored levels that napari can use: each smaller than the one before."""
    levels = [source.levels[0]]
    for level in source.levels[1:]:
        if len(level.shape) == len(levels[0].shape) and max(level.shape) < max(levels[-1].shape):
            levels.append(level)
    return levels


def _needs_levels(source: Source, axes: str) -> bool:
    return (
        not set(axes) & set("TZ")
        and len(_levels(source)) == 1
        and max(source.levels[0].shape) > _LARGE
    )


def _numbers(scene: Scene) -> Sequence[int]:
    """Return the levels that are shown of a scene."""
    return [n for n, level in enumerate(scene.levels) if max(level.shape) * 2 > _SMALL]


def _stored(
    array: LazyArray,
    axes: str,
    where: dict[str, int | slice],
    finish: Callable[[np.ndarray], np.ndarray] | None,
) -> Lazy:
    """Show a level of a file: rows and columns behind time and depth, colours last."""
    sizes = dict(zip(axes, array.shape, strict=True))
    shown = [axis for axis in _order(axes) if not isinstance(where.get(axis), int)]
    shape = tuple(_length(sizes[axis], where.get(axis)) for axis in shown)

    def window(parts: tuple[slice, ...]) -> np.ndarray:
        asked = dict(zip(shown, parts, strict=True))
        block = np.asarray(array[tuple(asked.get(axis, where.get(axis)) for axis in axes)])
        left = [axis for axis in axes if axis in shown]
        block = block.transpose([left.index(axis) for axis in shown])
        if finish is not None:
            block = finish(block.reshape(-1, *block.shape[-2:])).reshape(block.shape)
        return block

    return Lazy(shape, np.dtype(np.uint8 if finish is not None else array.dtype), window)


def _computed(
    scene: Scene, number: int, read: Callable[..., np.ndarray], samples: tuple[int, ...]
) -> Lazy:
    """Show a level of a scene, which computes those that its file lacks."""

    def window(parts: tuple[slice, ...]) -> np.ndarray:
        block = read(number, parts[0], parts[1])
        return block[..., parts[2]] if samples else block[..., 0]

    dtype = scene.dtype if read == scene.read else np.dtype(np.uint8)
    return Lazy((*scene.levels[number].shape, *samples), dtype, window)


def _order(axes: str) -> str:
    """Return the axes as they are shown, without channels."""
    return "".join(axis for axis in axes if axis in "TZ") + "YX" + "S" * ("S" in axes)


def _length(length: int, part: int | slice | None) -> int:
    return len(range(length)[part]) if isinstance(part, slice) else length


def _limits(scene: Scene) -> tuple[float, float]:
    """Return what is shown as black and as white."""
    stretch = scene.normalisation
    if stretch.kind == "as_is":
        return (0, 1) if scene.dtype.kind == "b" else (0, 255)
    low, high = stretch.low[0], stretch.high[0]
    return (low, high) if low < high else (low, low + 1)


def _name(path: str | Path) -> str:
    text = os.fspath(path).rstrip("/")
    return text.rsplit("/", 1)[-1] if "://" in text else Path(text).stem


def _channel(name: str) -> str:
    return f"channel {name}" if name.isdigit() else name
