"""From the scores of pictures to figures with confidence intervals."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...sam import Sam
from ..pictures import Picture
from .bootstrap import Estimate, bootstrap_ratio
from .calibration import Calibration, calibrate
from .prompted import PromptScores, ScoreKey, Trace, choose_objects, score_prompts

__all__ = ["PictureScores", "Summary", "evaluate_picture", "prompt_picture", "summarise"]


@dataclass(frozen=True)
class PictureScores:
    """Everything measured on one picture.

    Parameters
    ----------
    name : str
        Of the picture.
    objects : int
        Objects that were prompted for.
    values : dict of ScoreKey to (sum, count)
        Each figure is the sum of all pictures' sums over the sum of their counts.
    predicted, measured : (n,) array
        Predicted and measured IoU of the masks after one click.
    traces : tuple of Trace
        What happened to each object.
    """

    name: str
    objects: int
    values: Mapping[ScoreKey, tuple[float, float]]
    predicted: NDArray[np.float64]
    measured: NDArray[np.float64]
    traces: tuple[Trace, ...]

    def with_values(self, values: Mapping[ScoreKey, tuple[float, float]]) -> PictureScores:
        """Return these scores and others of the same picture."""
        return replace(self, values={**self.values, **values})


@dataclass(frozen=True)
class Summary:
    """Figures of several pictures.

    Parameters
    ----------
    pictures, objects : int
        How many.
    estimates : dict of ScoreKey to Estimate
        In the order in which they are to be read.
    calibration : Calibration
        Of the three masks after one click.
    """

    pictures: int
    objects: int
    estimates: dict[ScoreKey, Estimate]
    calibration: Calibration


def prompt_picture(sam: Sam, picture: Picture, objects: int, seed: int = 0) -> PromptScores:
    """Prompt a model for some objects of a picture, and keep what was measured of each object.

    Parameters
    ----------
    sam : Sam
        The model.
    picture : Picture
        With at least one object.
    objects : int
        So many objects at most. Which, depends on the seed and the picture's name alone, not on
        the model or other pictures.
    seed : int
        Of the choice of objects and the noise of boxes.

    Returns
    -------
    PromptScores
        One value per object, in the order of its traces.
    """
    rng = np.random.default_rng([seed, zlib.crc32(picture.name.encode())])
    chosen = choose_objects(rng, len(picture.objects), objects)
    return score_prompts(sam, picture, chosen, rng)


def evaluate_picture(sam: Sam, picture: Picture, objects: int, seed: int = 0) -> PictureScores:
    """Prompt a model for some objects of a picture, and add up what was measured.

    Parameters
    ----------
    sam, picture, objects, seed
        As `prompt_picture` takes them.

    Returns
    -------
    PictureScores
    """
    scores = prompt_picture(sam, picture, objects, seed)
    error = np.abs(scores.predicted - scores.measured)
    values = {key: (float(v.sum()), float(len(v))) for key, v in scores.values.items()}
    values["predicted IoU", "mean error"] = (float(error.sum()), float(error.size))
    return PictureScores(
        picture.name,
        len(scores.traces),
        values,
        scores.predicted.ravel(),
        scores.measured.ravel(),
        scores.traces,
    )


def summarise(pictures: Sequence[PictureScores], seed: int = 0) -> Summary:
    """Summarise pictures that were measured alike.

    Parameters
    ----------
    pictures : sequence of PictureScores
        At least one, all with the same keys.
    seed : int
        Of the bootstrap.

    Returns
    -------
    Summary
    """
    estimates = {}
    for key in pictures[0].values:
        sums, counts = zip(*(picture.values[key] for picture in pictures), strict=True)
        estimates[key] = bootstrap_ratio(sums, counts, seed=seed)
    return Summary(
        len(pictures),
        sum(picture.objects for picture in pictures),
        estimates,
        calibrate(
            np.concatenate([picture.predicted for picture in pictures]),
            np.concatenate([picture.measured for picture in pictures]),
        ),
    )
