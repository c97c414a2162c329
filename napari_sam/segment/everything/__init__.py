"""Everything in a scene of any size: a grid of clicks, then whole objects across tiles.

grid.py: where is clicked -> clicking.py: the masks of a tile -> raw.py, records.py: kept in the
store -> overlaps.py: pairs measured once -> filtering.py, joining.py: objects, without the network
-> found.py, object_table.py, label_pyramid.py, overview.py: what a person gets. running.py and
everything.py put it together.
"""

from .everything import Everything
from .filtering import Thresholds
from .found import FoundObjects
from .label_pyramid import write_labels
from .object_table import read_table, write_table
from .overview import write_overview
from .running import (
    EverythingProgress,
    EverythingResult,
    found_so_far,
    segment_everything,
)

__all__ = [
    "Everything",
    "EverythingProgress",
    "EverythingResult",
    "FoundObjects",
    "Thresholds",
    "found_so_far",
    "read_table",
    "segment_everything",
    "write_labels",
    "write_overview",
    "write_table",
]
