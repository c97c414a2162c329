"""What base models were trained on looks like, and whether other pictures look like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

__all__ = ["BASES", "Look", "Seen", "compare_looks", "look_of", "mean_look"]

_NEAR = 3.0
"""Standard deviations within which a picture looks like those of a group."""

_LEAST_SPREAD = 10.0
"""In grey values: a group whose pictures are all alike does not make all others strangers."""


@dataclass(frozen=True)
class Look:
    """How a picture looks, in grey values of 0 to 255.

    Parameters
    ----------
    brightness : float
        Mean.
    contrast : float
        Standard deviation.
    colour : float
        Mean difference between the strongest and the weakest channel.
    """

    brightness: float
    contrast: float
    colour: float


@dataclass(frozen=True)
class Seen:
    """A kind of picture that a base model was trained on.

    Parameters
    ----------
    name : str
        What people call it.
    pictures : int
        How many there were.
    mean, spread : Look
        Over these pictures; the spread is a standard deviation.
    """

    name: str
    pictures: int
    mean: Look
    spread: Look


BASES: Mapping[str, tuple[Seen, ...]] = MappingProxyType(
    {
        # The 473 training pictures of BBBC038 (2018 Data Science Bowl, stage 1, CC0 1.0), grouped
        # by whether they have colours and are brighter than half; see `look_of` for the measure.
        "vit_nano": (
            Seen("grey on dark (fluorescence)", 389, Look(12.6, 14.0, 0.0), Look(7.2, 7.2, 0.0)),
            Seen("grey on bright", 12, Look(211.3, 32.5, 0.0), Look(4.0, 4.0, 0.0)),
            Seen("stained, in colour", 72, Look(174.0, 25.8, 54.6), Look(14.9, 9.6, 22.6)),
        )
    }
)
"""By name of the model; of others nothing is recorded."""


def look_of(image: np.ndarray) -> Look:
    """Measure a picture.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
        RGB.

    Examples
    --------
    >>> look_of(np.full((2, 2, 3), (30, 20, 10), np.uint8))
    Look(brightness=20.0, contrast=0.0, colour=20.0)
    """
    red, green, blue = image.astype(np.int16).transpose(2, 0, 1)
    grey = (red + green + blue) / 3
    strongest = np.maximum(np.maximum(red, green), blue)
    colour = strongest - np.minimum(np.minimum(red, green), blue)
    return Look(float(grey.mean()), float(grey.std()), float(colour.mean()))


def mean_look(looks: Sequence[Look]) -> Look:
    """Return how several crops of an image look on average."""
    brightness, contrast, colour = (
        float(np.mean([getattr(look, name) for look in looks])) for name in _WORDS
    )
    return Look(brightness, contrast, colour)


def compare_looks(looks: Sequence[Look], base: str) -> list[str]:
    """Say whether pictures look like what a base model was trained on.

    Parameters
    ----------
    looks : sequence of Look
        Of images, or of what is shown of them.
    base : str
        The model's name.

    Returns
    -------
    list of str
        Sentences.

    Examples
    --------
    >>> for sentence in compare_looks([Look(15, 12, 0), Look(120, 40, 30)], "vit_nano"):
    ...     print(sentence)
    1 of 2 images looks like grey on dark (fluorescence), of which vit_nano saw 389 pictures.
    1 of 2 images is unlike all that vit_nano was trained on; nearest is stained, in colour: \
darker (brightness 120, seen 174 ± 15).
    """
    if base not in BASES:
        return [
            f"Nothing is recorded of what {base} was trained on: intensities cannot be compared."
        ]
    like: dict[str, int] = {}
    unlike: dict[str, list[Look]] = {}
    groups = {seen.name: seen for seen in BASES[base]}
    for look in looks:
        nearest = min(groups.values(), key=lambda seen: max(_distances(look, seen).values()))
        if max(_distances(look, nearest).values()) <= _NEAR:
            like[nearest.name] = like.get(nearest.name, 0) + 1
        else:
            unlike.setdefault(nearest.name, []).append(look)
    sentences = [
        f"{count} of {len(looks)} images look{'s' * (count == 1)} like {name}, of which {base} saw "
        f"{groups[name].pictures} pictures."
        for name, count in like.items()
    ]
    for name, others in unlike.items():
        are = "is" if len(others) == 1 else "are"
        sentences.append(
            f"{len(others)} of {len(looks)} images {are} unlike all that {base} was trained on; "
            f"nearest is {name}: {_difference(others, groups[name])}."
        )
    return sentences


_WORDS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("fainter", "of more contrast"),
    "colour": ("less colourful", "more colourful"),
}


def _distances(look: Look, seen: Seen) -> dict[str, float]:
    """Return by how many standard deviations a picture differs, for each measure."""
    found = {}
    for name in _WORDS:
        spread = max(_LEAST_SPREAD, getattr(seen.spread, name))
        found[name] = abs(getattr(look, name) - getattr(seen.mean, name)) / spread
    return found


def _difference(looks: Sequence[Look], seen: Seen) -> str:
    """Say how pictures differ from a group, on average."""
    mean = mean_look(looks)
    found = _distances(mean, seen)
    far = [name for name in _WORDS if found[name] > _NEAR] or [max(found, key=lambda n: found[n])]
    told = []
    for name in far:
        value, usual = getattr(mean, name), getattr(seen.mean, name)
        spread = getattr(seen.spread, name)
        told.append(
            f"{_WORDS[name][value > usual]} ({name} {value:.0f}, seen {usual:.0f} ± {spread:.0f})"
        )
    return ", ".join(told)
