"""Generated scenes with exact truth: textured shapes that overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["generate_scene"]


def generate_scene(
    rng: np.random.Generator,
    size: int,
    textures: Sequence[NDArray[np.uint8]] = (),
    max_objects: int = 40,
    object_size: tuple[float, float] = (0.06, 0.6),
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Draw ellipses, blobs, polygons, rings and thin curves over each other.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    size : int
        Side of the scene in pixels.
    textures : sequence of (H, W, 3) uint8 arrays
        Pictures to cut natural textures from; without any, only gradients and noise are used.
    max_objects : int
        At most this many objects are drawn.
    object_size : tuple of float
        Smallest and largest typical size of a scene's objects, as fractions of its side.

    Returns
    -------
    image : (size, size, 3) uint8 array
    labels : (size, size) int32 array
        The visible part of each object, numbered from 1; 0 is background.

    Examples
    --------
    >>> image, labels = generate_scene(np.random.default_rng(0), 64, max_objects=3)
    >>> image.shape, labels.shape
    ((64, 64, 3), (64, 64))
    """
    image = _texture(rng, size, size, textures)
    labels = np.zeros((size, size), np.int32)
    # One typical size a scene: a few large things or many small ones, as in real pictures.
    typical = size * np.exp(rng.uniform(*np.log(object_size)))
    count = int(np.clip(rng.uniform(0.2, 0.8) * (size / typical) ** 2 / 3, 2, max_objects))
    shapes = rng.integers(len(_SHAPES), size=rng.integers(1, 3))
    alike = _texture(rng, size, size, textures) if rng.random() < 0.5 else None
    for label in range(1, count + 1):
        radius = max(3.0, typical * np.exp(rng.normal(0, 0.35)) / 2)
        centre = rng.uniform(0, size, 2)
        shape = _SHAPES[rng.choice(shapes)](rng, radius)
        top, left = (np.floor(centre).astype(int) - len(shape) // 2).tolist()
        rows = slice(max(0, top), min(size, top + len(shape)))
        cols = slice(max(0, left), min(size, left + len(shape)))
        mask = shape[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
        if not mask.any():
            continue
        if alike is not None:
            fill = alike[rows, cols] + rng.normal(0, 8, 3)
        else:
            fill = _texture(rng, mask.shape[0], mask.shape[1], textures)
        # Soft edges: an object half a pixel out of focus, as every camera gives them.
        alpha = _blur(mask.astype(float), rng.uniform(0.3, 1.5))[..., None]
        image[rows, cols] = image[rows, cols] * (1 - alpha) + fill * alpha
        labels[rows, cols][mask] = label
    image = image + rng.normal(0, rng.uniform(0, 8), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), labels


def _texture(
    rng: np.random.Generator, height: int, width: int, pictures: Sequence[NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """Return a (height, width, 3) texture on the 0-255 scale: a picture's, or colour and noise."""
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0, 255))
    if pictures and rng.random() < 0.5:
        picture = pictures[int(rng.integers(len(pictures)))]
        step = int(rng.integers(1, 4))
        picture = picture[rng.integers(step) :: step, rng.integers(step) :: step]
        rows = (np.arange(height) + rng.integers(len(picture))) % (2 * len(picture))
        cols = (np.arange(width) + rng.integers(picture.shape[1])) % (2 * picture.shape[1])
        rows = np.minimum(rows, 2 * len(picture) - 1 - rows)  # mirrored beyond the border
        cols = np.minimum(cols, 2 * picture.shape[1] - 1 - cols)
        cut = picture[rows][:, cols].astype(float)
        contrast = rng.uniform(0.2, 1.0)
        return colour + contrast * (cut - cut.mean((0, 1))) if rng.random() < 0.7 else cut
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    slope = rng.normal(0, 20, 2)
    noise = _smooth_noise(rng, height, width, int(rng.integers(1, 12))) * rng.uniform(0, 30)
    return colour + (slope[0] * y + slope[1] * x + noise)[..., None] * rng.uniform(0.5, 1, 3)


def _smooth_noise(
    rng: np.random.Generator, height: int, width: int, grain: int
) -> NDArray[np.float64]:
    """Return noise of unit scale whose grains are ``grain`` pixels wide."""
    coarse = rng.normal(0, 1, (height // grain + 2, width // grain + 2))
    noise = coarse.repeat(grain, axis=0).repeat(grain, axis=1)
    return _blur(noise[:height, :width], grain / 2)


def _blur(image: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Blur with a small separable Gaussian of the given standard deviation in pixels."""
    reach = int(np.ceil(2 * radius))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padding = [(reach, reach) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(image, padding, mode="edge")
        length = image.shape[axis]
        image = sum(
            weight * padded.take(range(i, i + length), axis) for i, weight in enumerate(kernel)
        )
    return image


def _grid(radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return y and x of a square window around the origin with room for ``radius``."""
    reach = int(np.ceil(radius)) + 1
    axis = np.arange(-reach, reach + 1, dtype=float)
    return axis[:, None], axis[None]


def _blob(rng: np.random.Generator, radius: float) -> NDArray[np.bool_]:
    """Return a rounded shape: an ellipse whose radius wobbles."""
    y, x = _grid(radius * 1.4)
    turn, squeeze = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1)
    u, v = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) / squeeze
    wobble = sum(
        rng.normal(0, 0.25 / k) * np.cos(k * np.arctan2(v, u) + rng.uniform(0, 2 * np.pi))
        for k in range(2, 6)
    )
    return np.hypot(u, v) < radius * np.clip(1 + wobble * rng.choice([0, 0.3, 1]), 0.3, 1.4)


def _ring(rng: np.random.Generator, radius: float) -> NDArray[np.bool_]:
    """Return a ring."""
    y, x = _grid(radius)
    distance = np.hypot(x, y)
    return (distance < radius) & (distance > radius * rng.uniform(0.3, 0.75))


def _polygon(rng: np.random.Generator, radius: float) -> NDArray[np.bool_]:
    """Return a polygon, often with right angles as buildings have them."""
    if rng.random() < 0.6:
        return _building(rng, radius)
    corners = int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = radius * rng.uniform(0.5, 1, corners)
    px, py = reach * np.cos(angles), reach * np.sin(angles)
    y, x = _grid(radius)
    inside = np.zeros(np.broadcast_shapes(y.shape, x.shape), bool)
    for x0, y0, x1, y1 in zip(px, py, np.roll(px, -1), np.roll(py, -1), strict=True):
        crosses = (y0 > y) != (y1 > y)  # even-odd rule
        if y0 != y1:
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def _building(rng: np.random.Generator, radius: float) -> NDArray[np.bool_]:
    """Return a turned rectangle, sometimes with a corner missing (an L)."""
    y, x = _grid(radius)
    turn = rng.uniform(0, np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    half_u, half_v = radius * 0.9, radius * rng.uniform(0.25, 0.45)
    half_u = min(half_u, np.sqrt(max(radius**2 - half_v**2, 1)))
    inside = (abs(u) < half_u) & (abs(v) < half_v)
    if rng.random() < 0.4:
        inside &= ~((u > half_u * rng.uniform(-0.3, 0.4)) & (v > half_v * rng.uniform(-0.4, 0.2)))
    return inside


def _curve(rng: np.random.Generator, radius: float) -> NDArray[np.bool_]:
    """Return a thin bending line: a road, a river, a vessel."""
    y, x = _grid(radius * 1.2)
    width = max(2.0, radius * rng.uniform(0.05, 0.2))
    bend, phase = rng.uniform(0, 0.4) * radius, rng.uniform(0, 2 * np.pi)
    along = np.linspace(-radius, radius, 24)
    across = bend * np.sin(along / radius * rng.uniform(1, 4) + phase)
    turn = rng.uniform(0, np.pi)
    px = along * np.cos(turn) - across * np.sin(turn)
    py = along * np.sin(turn) + across * np.cos(turn)
    inside = np.zeros(np.broadcast_shapes(y.shape, x.shape), bool)
    for i in range(len(px) - 1):
        dx, dy = px[i + 1] - px[i], py[i + 1] - py[i]
        t = np.clip(((x - px[i]) * dx + (y - py[i]) * dy) / (dx**2 + dy**2), 0, 1)
        inside |= np.hypot(x - px[i] - t * dx, y - py[i] - t * dy) < width
    return inside


_SHAPES = (_blob, _blob, _ring, _polygon, _polygon, _curve)
