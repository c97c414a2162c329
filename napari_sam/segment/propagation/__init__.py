"""An object followed through the planes of a stack or the frames of a film.

motion.py, flow.py: where it is expected -> asking.py: the model's answers there -> judging.py:
whether one of them is the object -> following.py: from plane to plane in one direction, across
gaps -> spans.py: between planes where it is known, from both ends -> propagate.py puts it
together. shapes.py: masks moved, compared and blended; segmenters.py: what answers in a plane. It
knows no session.
"""

from .followed import Evidence, Followed, Plane, Propagation
from .propagate import propagate
from .segmenters import PlaneSegmenters
from .settings import Settings
from .spans import affected

__all__ = [
    "Evidence",
    "Followed",
    "Plane",
    "PlaneSegmenters",
    "Propagation",
    "Settings",
    "affected",
    "propagate",
]
