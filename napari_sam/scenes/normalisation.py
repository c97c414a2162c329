"""One stretch for a whole Scene, so that neighbouring tiles look alike to the network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.images import stretch_limits, stretch_to_uint8
from napari_sam.scenes.pyramid import is_valid
from napari_sam.scenes.sampling import spread_windows

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["Normalisation", "measure", "of_window"]

_ENOUGH_PIXELS = 1 << 16
"""A stored coarse level with at least so many pixels is sampled instead of level 0."""

_WINDOWS, _WINDOW_SIDE = 64, 128


@dataclass(frozen=True)
class Normalisation:
    """What becomes black and what becomes white.

    Parameters
    ----------
    kind : {"as_is", "percentile", "window"}
        8-bit images are taken as they are; others are stretched linearly, between percentiles of
        their values or as a window of the file says.
    low, high : tuple of float
        For each channel the value that becomes 0 and the one that becomes 255; finite, with
        ``low <= high``. Where they are equal all becomes 0.

    Raises
    ------
    InputError
        If they are not like this.

    Examples
    --------
    >>> stretch = Normalisation("percentile", (100.0,), (900.0,))
    >>> stretch.describe()
    'stretched linearly from 100..900 to 0..255'
    >>> Normalisation.from_dict(stretch.to_dict()) == stretch
    True
    """

    kind: Literal["as_is", "percentile", "window"]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        limits = [*self.low, *self.high]
        if (
            self.kind not in ("as_is", "percentile", "window")
            or not self.low
            or len(self.low) != len(self.high)
            or not all(map(math.isfinite, limits))
            or any(low > high for low, high in zip(self.low, self.high, strict=True))
        ):
            raise InputError(
                f"A normalisation of kind {self.kind!r} from {self.low} to {self.high} makes no "
                "sense: give 'as_is', 'percentile' or 'window', and finite numbers with "
                "low <= high."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Normalisation":
        """Make one from what `to_dict` gave.

        Raises
        ------
        InputError
            If something is missing or wrong in it.
        """
        try:
            low, high = (tuple(float(value) for value in saved[key]) for key in ("low", "high"))
            kind = saved["kind"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                "A saved normalisation needs 'kind', 'low' and 'high': it was not saved by this "
                "program, or it is damaged."
            ) from error
        return cls(kind, low, high)

    def describe(self) -> str:
        """Say it in one line for people."""
        if self.kind == "as_is":
            return "values are taken as they are (8 bits)"
        ranges = [f"{low:.6g}..{high:.6g}" for low, high in zip(self.low, self.high, strict=True)]
        return f"stretched linearly from {', '.join(dict.fromkeys(ranges))} to 0..255"

    def apply(self, block: np.ndarray, nodata: float | None) -> np.ndarray:
        """Bring pixels to the uint8 RGB that the network sees.

        Parameters
        ----------
        block : ndarray
            Shape (row, col, channel), with as many channels as this has limits: one (repeated
            three times) or three.
        nodata : float or None
            What becomes 0 where all channels have it. NaN becomes 0 too.

        Returns
        -------
        ndarray
            uint8, shape (row, col, 3), contiguous.
        """
        if self.kind == "as_is" and block.dtype == np.uint8:
            grey = block
        else:
            grey = np.empty(block.shape, np.uint8)
            for channel, limits in enumerate(zip(self.low, self.high, strict=True)):
                grey[..., channel] = stretch_to_uint8(block[..., channel], *limits)
        if nodata is not None:
            grey = np.where(is_valid(block, nodata), grey, np.uint8(0))
        if grey.shape[2] == 3:
            return np.ascontiguousarray(grey)
        rgb = np.empty((*grey.shape[:2], 3), np.uint8)
        for channel in range(3):  # at once it is several times slower
            rgb[..., channel] = grey[..., 0]
        return rgb


def measure(scene: "Scene", per_channel: bool = True) -> Normalisation:
    """Find a Scene's normalisation from a sample spread over all of it.

    The sample is the same every time: the coarsest level that the file stores with enough pixels
    if there is one, else level 0; whole if that is small, else 64 windows of 128 x 128.

    Parameters
    ----------
    scene : Scene
        Its own normalisation does not matter.
    per_channel : bool
        False gives all channels the same limits, which keeps the hues of true colour.

    Returns
    -------
    Normalisation
        For each channel the 1st and 99th percentile of what is finite and data; all 0 where
        nothing is.
    """
    channels = len(scene.channels)
    if scene.dtype == np.uint8:
        return Normalisation("as_is", (0.0,) * channels, (255.0,) * channels)
    if scene.dtype == np.bool_:
        return Normalisation("as_is", (0.0,) * channels, (1.0,) * channels)
    stored = [number for number, level in enumerate(scene.levels) if level.stored]
    large = [n for n in stored if math.prod(scene.levels[n].shape) >= _ENOUGH_PIXELS]
    level = large[-1] if large else 0
    blocks = [
        scene.read(level, *window)
        for window in spread_windows(scene.levels[level].shape, _WINDOWS, _WINDOW_SIDE)
    ]
    samples = np.concatenate([block.reshape(-1, channels) for block in blocks])
    usable = is_valid(samples, scene.nodata) & np.isfinite(samples)
    if per_channel:
        limits = [_limits(samples[usable[:, c], c]) for c in range(channels)]
    else:
        limits = [_limits(samples[usable])] * channels
    return Normalisation("percentile", *zip(*limits, strict=True))


def of_window(scene: "Scene", name: str | None = None) -> Normalisation:
    """Return the stretch that a window of the file means.

    Parameters
    ----------
    scene : Scene
        Has windows.
    name : str, optional
        Of the window; the first by default.

    Raises
    ------
    InputError
        If there is none of this name.
    """
    found = [window for window in scene.windows if name in (None, window.name)]
    if not found:
        there = ", ".join(window.name for window in scene.windows) or "none"
        raise InputError(f"{scene.name} has no window {name!r}; there are: {there}.")
    channels = len(scene.channels)
    return Normalisation("window", (found[0].low,) * channels, (found[0].high,) * channels)


def _limits(values: np.ndarray) -> tuple[float, float]:
    return stretch_limits(values) if values.size else (0.0, 0.0)


def check_fits(normalisation: Normalisation, channels: Sequence[str], name: str) -> None:
    """Refuse a normalisation made for another number of channels.

    Raises
    ------
    InputError
        With both numbers.
    """
    if len(normalisation.low) != len(channels):
        raise InputError(
            f"{name}: the normalisation has {len(normalisation.low)} channels, but "
            f"{len(channels)} are chosen: choose the channels it was made for, or leave it out."
        )
