"""How good a model is: clicks, boxes and automatic masks against the truth.

:func:`evaluate_picture` measures one picture, :func:`summarise` makes figures with confidence
intervals of many. The parts are small functions from arrays to numbers:

- ``clicks``, ``conversation``, ``prompted``: simulated users and what is measured of the answers;
- ``floors``: what needs no model, beside every score;
- ``boundary``, ``matching``, ``calibration``: outlines, instances, predicted IoU;
- ``bootstrap``: confidence intervals over pictures.
"""

from .groups import picture_kind
from .instances import score_instances
from .prompted import ScoreKey
from .summary import PictureScores, Summary, evaluate_picture, prompt_picture, summarise

__all__ = [
    "PictureScores",
    "ScoreKey",
    "Summary",
    "evaluate_picture",
    "picture_kind",
    "prompt_picture",
    "score_instances",
    "summarise",
]
