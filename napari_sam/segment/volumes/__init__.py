"""Everything in a volume: slice by slice, then joined.

looking.py: everything in each slice -> slices.py -> overlaps.py: pairs of slices measured once ->
chains.py, branches.py: what is one object -> painting.py, label_volume.py: labels on the disk ->
consensus.py: what directions agree about. volume.py puts it together.
"""

from .joining import Joining, join_slices
from .sizes import Volumes
from .volume import VolumeProgress, VolumeResult, segment_volume

__all__ = [
    "Joining",
    "VolumeProgress",
    "VolumeResult",
    "Volumes",
    "join_slices",
    "segment_volume",
]
