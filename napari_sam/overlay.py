"""A picture of a segmentation that a person likes to look at."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.special import ndtri
from skimage.color import rgb2lab
from skimage.segmentation import expand_labels

from napari_sam.segment.prompts import Box, Point, Prompt

SHORTEST_LONG_SIDE = 768
"""Small pictures are enlarged by a whole factor until their longer side has this many pixels."""

LONGEST_SIDE = 4096
"""Larger pictures are reduced until their longer side has at most this many pixels."""

PALETTE = np.array(
    [
        (255, 190, 11),
        (0, 200, 255),
        (255, 64, 129),
        (92, 225, 80),
        (255, 112, 40),
        (158, 108, 255),
        (0, 214, 170),
        (240, 70, 70),
        (70, 130, 255),
        (226, 236, 60),
        (255, 130, 200),
    ],
    dtype=np.uint8,
)
"""Colours of objects: bright enough for dark pictures, saturated enough for light ones."""

FILL = 0.3
FOREGROUND_COLOUR = (40, 205, 80)
BACKGROUND_COLOUR = (235, 50, 50)
BOX_COLOUR = (255, 255, 255)
SHADOW_COLOUR = (20, 20, 20)


def draw_overlay(
    image: np.ndarray, labels: np.ndarray, prompts: Sequence[Prompt] = ()
) -> np.ndarray:
    """Draw objects, and the prompts they were found with, over a picture.

    Each object is tinted and has a crisp outline just inside its border; objects near each other
    have different colours, the same ones every time. Foreground points are green, background
    points red, boxes white.

    Parameters
    ----------
    image : ndarray
        uint8 RGB, shape (row, col, 3).
    labels : ndarray
        Object ids, shape (row, col), 0 is background.
    prompts : sequence of Prompt
        What to draw on top.

    Returns
    -------
    ndarray
        uint8 RGB; enlarged by a whole factor if the longer side of `image` is shorter than
        `SHORTEST_LONG_SIDE`, reduced if it is longer than `LONGEST_SIDE`.
    """
    longest = max(labels.shape)
    scale: float = max(1, -(-SHORTEST_LONG_SIDE // longest))
    if longest > LONGEST_SIDE:
        scale = LONGEST_SIDE / longest
    canvas = _resize(image, scale).astype(np.float32)
    small = labels
    if scale < 1:
        rows, cols = (
            np.minimum((np.arange(drawn) + 0.5) * given / drawn, given - 1).astype(int)
            for drawn, given in zip(canvas.shape[:2], labels.shape, strict=True)
        )
        small = labels[np.ix_(rows, cols)]
    line = max(2.5, max(canvas.shape[:2]) / 400)
    _draw_objects(canvas, small, max(1, int(scale)), line)
    for prompt in prompts:
        if prompt.box is not None:
            _draw_box(canvas, prompt.box, scale, line)
    for prompt in prompts:
        for point in prompt.points:
            _draw_point(canvas, point, scale, 3 * line)
    return np.floor(canvas + 0.5).astype(np.uint8)


def assign_colours(
    labels: np.ndarray, image: np.ndarray, distance: int | None = None
) -> np.ndarray:
    """Choose a colour for each object, different from those of its neighbours.

    Objects are coloured in the order of their ids. Each takes, of the colours of `PALETTE` that no
    neighbour has yet and that stand out from its own pixels, the one used least so far.

    Parameters
    ----------
    labels : ndarray
        Object ids, shape (row, col), 0 is background.
    image : ndarray
        uint8 RGB of the same rows and columns.
    distance : int, optional
        How close objects are that count as neighbours, in pixels; 4 % of the longer side by
        default.

    Returns
    -------
    ndarray
        uint8, shape (largest id + 1, 3); the row of an id is its colour.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[1, 1, 2, 2]])
    >>> colours = assign_colours(labels, np.zeros((1, 4, 3), np.uint8), distance=1)
    >>> bool((colours[1] != colours[2]).any())
    True
    """
    highest = int(labels.max(initial=0))
    neighbours: list[set[int]] = [set() for _ in range(highest + 1)]
    if distance is None:
        distance = max(1, round(0.04 * max(labels.shape)))
    grown = expand_labels(labels, distance)
    for first, second in ((grown[1:], grown[:-1]), (grown[:, 1:], grown[:, :-1])):
        border = (first != second) & (first > 0) & (second > 0)
        pairs = np.unique(np.stack([first[border], second[border]], axis=1), axis=0)
        for a, b in pairs.tolist():
            neighbours[a].add(b)
            neighbours[b].add(a)
    areas = np.bincount(labels.ravel(), minlength=highest + 1)
    sums = [
        np.bincount(labels.ravel(), weights=image[..., channel].ravel(), minlength=highest + 1)
        for channel in range(3)
    ]
    means = np.stack(sums, axis=1) / np.maximum(areas, 1)[:, np.newaxis]
    lab = rgb2lab(PALETTE[np.newaxis] / 255)[0]
    contrast = np.linalg.norm(lab - rgb2lab(means[:, np.newaxis] / 255), axis=2)
    used = np.zeros(len(PALETTE))
    chosen = np.full(highest + 1, -1)
    for number in range(1, highest + 1):
        taken = {int(chosen[other]) for other in neighbours[number]}
        penalty = used + 1e3 * (contrast[number] < 45)
        penalty += [1e6 * (colour in taken) for colour in range(len(PALETTE))]
        chosen[number] = int(np.argmin(penalty))
        used[chosen[number]] += 1
    return PALETTE[chosen]


def _resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Enlarge or reduce a picture smoothly."""
    if scale == 1:
        return image
    rows, cols = (max(1, round(side * scale)) for side in image.shape[:2])
    method = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize((cols, rows), method))


def _draw_objects(canvas: np.ndarray, labels: np.ndarray, factor: int, line: float) -> None:
    """Tint every object and outline it; `canvas` is `factor` times as large as `labels`."""
    colours = assign_colours(labels, canvas[::factor, ::factor].astype(np.uint8))
    # The outline follows the border after a blur of less than half a pixel: steps become slopes,
    # and a single pixel survives. On canvas pixels the blur is at least wide enough to smooth, and
    # no wider than it takes.
    sigma = min(max(0.42 * factor, 0.6), 4.0)
    margin = int(4 * sigma) + 1
    for number, found in enumerate(ndimage.find_objects(labels.astype(np.int32)), start=1):
        if found is None:
            continue
        mask = (labels[found] == number).repeat(factor, axis=0).repeat(factor, axis=1)
        mask = _pad(mask, margin, found, labels.shape)
        soft = ndimage.gaussian_filter(mask.astype(np.float32), sigma, truncate=4)
        # For a straight border the blurred step is the normal distribution of the distance to it.
        inside = sigma * ndtri(np.clip(soft, 1e-6, 1 - 1e-6))
        if np.max(inside) < 0.5:  # too thin to survive the blur
            inside = np.where(mask, 0.5, -0.5)
        filled = np.clip(inside + 0.5, 0, 1)
        depth = ndimage.distance_transform_edt(mask) if line > 3 * sigma else inside
        outline = filled * np.clip(line - depth + 0.5, 0, 1)
        cover = np.maximum(FILL * filled, outline)
        top, left = (part.start * factor - margin for part in found)
        _blend(canvas, cover, (top, left), colours[number])


def _pad(
    mask: np.ndarray, margin: int, region: tuple[slice, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """Surround a mask with background, but let it go on where the picture ends."""
    at_border = [
        (part.start == 0, part.stop == side) for part, side in zip(region, shape, strict=True)
    ]
    mask = np.pad(mask, [[margin * (not ends) for ends in sides] for sides in at_border])
    return np.pad(mask, [[margin * ends for ends in sides] for sides in at_border], mode="edge")


def _draw_point(canvas: np.ndarray, point: Point, scale: float, radius: float) -> None:
    """Draw a disc with a white rim and a faint shadow around it."""
    row, col = ((position + 0.5) * scale - 0.5 for position in (point.row, point.col))
    reach = int(radius * 2)
    top, left = round(row) - reach, round(col) - reach
    rows, cols = np.mgrid[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
    distance = np.hypot(rows - row, cols - col)
    colour = FOREGROUND_COLOUR if point.foreground else BACKGROUND_COLOUR
    for size, shade, strength in (
        (1.55 * radius, SHADOW_COLOUR, 0.45),
        (1.35 * radius, (255, 255, 255), 1.0),
        (0.95 * radius, colour, 1.0),
    ):
        cover = strength * np.clip(size - distance + 0.5, 0, 1)
        _blend(canvas, cover, (top, left), shade)


def _draw_box(canvas: np.ndarray, box: Box, scale: float, line: float) -> None:
    """Draw a rectangle with a dark rim, so that it is seen on light and dark ground."""
    corners = [(p + 0.5) * scale - 0.5 for p in (box.row0, box.col0, box.row1, box.col1)]
    rows = np.arange(canvas.shape[0], dtype=np.float32)[:, np.newaxis]
    cols = np.arange(canvas.shape[1], dtype=np.float32)
    row_distance = np.maximum(corners[0] - rows, rows - corners[2])
    col_distance = np.maximum(corners[1] - cols, cols - corners[3])
    # Signed distance to the rectangle in the largest-coordinate sense, whose corners are square.
    distance = np.abs(np.maximum(row_distance, col_distance))
    for width, shade, strength in ((line + 2.5, SHADOW_COLOUR, 0.6), (line, BOX_COLOUR, 1.0)):
        cover = strength * np.clip(width / 2 - distance + 0.5, 0, 1)
        _blend(canvas, cover, (0, 0), shade)


def _blend(
    canvas: np.ndarray,
    cover: np.ndarray,
    corner: tuple[int, int],
    colour: np.ndarray | tuple[int, int, int],
) -> None:
    """Paint a colour where `cover` (0 to 1), whose first pixel lies at `corner`, says so."""
    top, left = (max(0, -start) for start in corner)
    row, col = corner[0] + top, corner[1] + left
    part = canvas[row : row + cover.shape[0] - top, col : col + cover.shape[1] - left]
    alpha = cover[top : top + part.shape[0], left : left + part.shape[1], np.newaxis]
    part += alpha * (np.asarray(colour, dtype=np.float32) - part)
