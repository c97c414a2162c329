"""A picture -> the sample a training step sees: cropped, turned, scaled, coloured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..preprocessing import ResizeLongestSide
from ..variants import Variant
from .pictures import ObjectMasks, Picture
from .warping import Placement, gaussian_blur, warp_image, warp_objects

__all__ = ["Augmentation", "Sample", "make_sample"]


@dataclass(frozen=True)
class Augmentation:
    """How much samples may differ from the picture they show.

    Every change except flips, quarter turns and scale is made for some samples only (`chance`),
    so that the network also sees pictures as they are.

    Parameters
    ----------
    flips : bool
        Mirror up-down and left-right, each for half the samples.
    quarter_turns : bool
        Swap rows and columns for half the samples; with `flips` all eight symmetries of a square
        are as likely. Off for pictures that have an up and a down.
    rotation : float
        Largest angle in degrees, either way.
    scale : (float, float)
        Smallest and largest size relative to inference; drawn evenly in its logarithm.
    brightness : float
        Largest shift, as a fraction of the full range.
    contrast, gamma : float
        Largest factor either way: 0.3 means between 1 / 1.3 and 1.3.
    colour : float
        Largest factor either way for each of red, green and blue by itself.
    noise : float
        Largest standard deviation of normal noise, as a fraction of the full range.
    blur : float
        Largest standard deviation of a Gaussian blur, in pixels of the sample.
    chance : float
        Probability of each of rotation, brightness, contrast, gamma, colour, noise and blur.
    min_area : int
        Objects of fewer pixels in the sample are left out.
    min_visible : float
        Objects of which the crop leaves less than this fraction are left out.

    Raises
    ------
    ValueError
        If a number lies outside what its meaning allows.

    Examples
    --------
    >>> Augmentation(rotation=180).rotation
    180
    >>> Augmentation.none().scale
    (1.0, 1.0)
    """

    flips: bool = True
    quarter_turns: bool = True
    rotation: float = 15.0
    scale: tuple[float, float] = (0.67, 1.5)
    brightness: float = 0.1
    contrast: float = 0.3
    gamma: float = 0.3
    colour: float = 0.1
    noise: float = 0.03
    blur: float = 1.5
    chance: float = 0.5
    min_area: int = 16
    min_visible: float = 0.2

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", tuple(self.scale))
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(
                f"scale {self.scale} of the augmentation must be two factors above 0, "
                "the smaller one first."
            )
        for name in ("rotation", "brightness", "contrast", "gamma", "colour", "noise", "blur"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} {getattr(self, name)} of the augmentation must be 0 or more."
                )
        for name in ("chance", "min_visible"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} {getattr(self, name)} of the augmentation must lie between 0 and 1."
                )
        if self.min_area < 1:
            raise ValueError(f"min_area {self.min_area} of the augmentation must be at least 1.")

    @classmethod
    def none(cls) -> Augmentation:
        """Show pictures as the predictor does."""
        return cls(
            flips=False,
            quarter_turns=False,
            rotation=0.0,
            scale=(1.0, 1.0),
            brightness=0.0,
            contrast=0.0,
            gamma=0.0,
            colour=0.0,
            noise=0.0,
            blur=0.0,
        )


@dataclass(frozen=True)
class Sample:
    """What a training step sees of a picture.

    Parameters
    ----------
    name : str
        The picture's.
    image : (h, w, 3) float32 array
        RGB, 0 to 255; to be normalised, and padded at the bottom and on the right.
    objects : ObjectMasks
        Those in sight, in the picture's order.
    indices : tuple of int
        Which of the picture's objects each one is.
    """

    name: str
    image: NDArray[np.float32]
    objects: ObjectMasks
    indices: tuple[int, ...]


def make_sample(
    rng: np.random.Generator,
    picture: Picture,
    side: int,
    augmentation: Augmentation,
    frame: int | None = None,
) -> Sample:
    """Draw one sample of a picture, resampled once from the picture's own pixels.

    At scale 1 the picture's longer side fills the model's frame, as it does in the predictor, so
    that objects have the size they have at inference. Where the picture, scaled and turned, is
    larger than the sample, the sample is a window around a random pixel of a random object:
    small objects are met as often as large ones.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    picture : Picture
    side : int
        Largest height and width of the sample in pixels; less than `frame` makes training
        cheaper and leaves the objects' size as it is.
    augmentation : Augmentation
    frame : int, optional
        Side of the model's frame in pixels; `side` if not given.

    Returns
    -------
    Sample
        Height and width at most `side`, less where the picture is not square or is scaled down.
        Corners that a rotation leaves empty have the mean colour that pads the frame.

    Raises
    ------
    ValueError
        If image and objects differ in size, or `side` is not between 1 and `frame`.

    Examples
    --------
    >>> image = np.zeros((6, 8, 3), np.uint8)
    >>> labels = np.zeros((6, 8), int)
    >>> labels[1:5, 1:5] = 7
    >>> picture = Picture("square", image, ObjectMasks.from_labels(labels))
    >>> sample = make_sample(np.random.default_rng(0), picture, 16, Augmentation.none())
    >>> sample.image.shape, sample.objects.box(0), sample.objects.items[0].area
    ((12, 16, 3), (2, 2, 9, 9), 64)
    """
    frame = side if frame is None else frame
    if not 1 <= side <= frame:
        raise ValueError(f"the sample's side {side} must lie between 1 and the frame's, {frame}.")
    if picture.image.shape[:2] != picture.objects.shape:
        raise ValueError(
            f"{picture.name}: the image is {picture.image.shape[:2]} pixels, its objects are "
            f"outlined on {picture.objects.shape}."
        )
    matrix = _draw_matrix(rng, picture.objects.shape, frame, augmentation)
    anchor, placement = _draw_window(rng, picture.objects, matrix, side, augmentation.min_area)
    image = _photometric(rng, warp_image(picture.image, placement), augmentation)
    inside = placement.inside()
    if not inside.all():
        image[~inside] = Variant.pixel_mean
    kept, items = [], []
    for index, item in enumerate(warp_objects(picture.objects, placement)):
        if item is None or item.area < augmentation.min_area:
            continue
        whole = picture.objects.items[index].area * placement.area_scale
        # The object the window was drawn around stays, however little of it fits.
        if index == anchor or item.area >= augmentation.min_visible * whole:
            kept.append(index)
            items.append(item)
    return Sample(picture.name, image, ObjectMasks(placement.shape, tuple(items)), tuple(kept))


def _draw_matrix(
    rng: np.random.Generator, native: tuple[int, int], frame: int, augmentation: Augmentation
) -> NDArray[np.float64]:
    """Draw flips, turns and scale: (2, 2), from the picture's (row, col) to the sample's."""
    zoom = float(np.exp(rng.uniform(*np.log(augmentation.scale))))
    mirrored = rng.random(2) < 0.5
    swapped = rng.random() < 0.5
    angle = np.deg2rad(rng.uniform(-1, 1) * augmentation.rotation)
    rotated = rng.random() < augmentation.chance
    # Height and width are rounded to whole pixels as the predictor rounds them.
    height, width = native
    longest = max(1, round(frame * zoom))
    new = ResizeLongestSide.get_preprocess_shape(height, width, longest)
    matrix = np.diag([new[0] / height, new[1] / width])
    if augmentation.flips:
        matrix = np.diag(np.where(mirrored, -1.0, 1.0)) @ matrix
    if augmentation.quarter_turns and swapped:
        matrix = matrix[::-1]
    if rotated and angle != 0:
        cos, sin = np.cos(angle), np.sin(angle)
        matrix = np.array([[cos, -sin], [sin, cos]]) @ matrix
    return np.asarray(matrix)


def _draw_window(
    rng: np.random.Generator,
    objects: ObjectMasks,
    matrix: NDArray[np.float64],
    side: int,
    min_area: int,
) -> tuple[int | None, Placement]:
    """Draw which part the sample shows; return the object it was drawn around, and the part."""
    height, width = objects.shape
    corners = np.array([(0, 0), (0, width), (height, 0), (height, width)]) @ matrix.T
    origin = corners.min(0)
    # Sizes that are whole but for rounding errors stay whole.
    extent = np.ceil(corners.max(0) - origin - 1e-6).astype(int)
    shape = np.minimum(extent, side)
    anchor, pixel = _draw_pixel(rng, objects, min_area / abs(np.linalg.det(matrix)))
    # The pixel lies in the window's middle half: what surrounds it is in sight on every side.
    place = matrix @ (pixel + 0.5) - origin - rng.uniform(0.25, 0.75, 2) * shape
    start = np.clip(np.round(place), 0, extent - shape)
    placement = Placement(objects.shape, (int(shape[0]), int(shape[1])), matrix, -origin - start)
    return anchor, placement


def _draw_pixel(
    rng: np.random.Generator, objects: ObjectMasks, min_area: float
) -> tuple[int | None, NDArray[np.integer]]:
    """Draw an object of at least ``min_area`` and one of its pixels, (row, col)."""
    areas = np.array([item.area for item in objects.items], float)
    large_enough = np.flatnonzero(areas >= min_area)
    if not len(large_enough):
        return None, rng.integers(0, objects.shape)
    anchor = int(rng.choice(large_enough))
    item = objects.items[anchor]
    rows, cols = np.nonzero(item.mask)
    pixel = rng.integers(len(rows))
    return anchor, np.array([item.top + rows[pixel], item.left + cols[pixel]])


def _photometric(
    rng: np.random.Generator, image: NDArray[np.float32], augmentation: Augmentation
) -> NDArray[np.float32]:
    """Change brightness, contrast, gamma, colours, sharpness and noise; (h, w, 3), 0 to 255."""
    changed = rng.random(6) < augmentation.chance
    strength = rng.uniform(-1, 1, 5)
    tint = rng.uniform(-1, 1, 3)
    gain, shift = np.ones(3), np.zeros(3)
    if changed[0]:
        shift += 255 * augmentation.brightness * strength[0]
    if changed[1] and augmentation.contrast:
        factor = (1 + augmentation.contrast) ** strength[1]
        shift += (1 - factor) * float(image.mean())
        gain *= factor
    if changed[2] and augmentation.colour:
        factors = (1 + augmentation.colour) ** tint
        gain *= factors
        shift *= factors
    if changed[3] and augmentation.blur * abs(strength[3]) > 0.25:  # less cannot be seen
        image = gaussian_blur(image, augmentation.blur * abs(strength[3]))
    if (gain != 1).any() or shift.any():
        image = image * gain.astype(np.float32) + shift.astype(np.float32)
        np.clip(image, 0, 255, out=image)
    if changed[4] and augmentation.gamma:
        power = (1 + augmentation.gamma) ** strength[2]
        image = np.float32(255) * (image * np.float32(1 / 255)) ** np.float32(power)
    if changed[5] and augmentation.noise:
        noise = rng.standard_normal(image.shape, np.float32)
        noise *= np.float32(255 * augmentation.noise * abs(strength[4]))
        image = np.clip(image + noise, 0, 255)
    return image
