"""Objects of each frame of a film linked into tracks: who is who, who divided, who came and went.

measures.py: what is known of a frame's objects -> costs.py: how well two frames' objects fit ->
linking.py: from frame to frame, with divisions and gaps -> lineage.py: the tracks, as a graph and
as the Cell Tracking Challenge has it.
"""

from .lineage import LineageGraph, Track, write_ctc
from .linking import LinkSettings, link

__all__ = ["LineageGraph", "LinkSettings", "Track", "link", "write_ctc"]
