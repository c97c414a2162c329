"""Tracks and whom they divided from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.outputs import check_output_folder

__all__ = ["LineageGraph", "Track", "write_ctc"]


@dataclass(frozen=True)
class Track:
    """One object through time.

    Parameters
    ----------
    id : int
        From 1.
    objects : mapping of int to int
        Its label in each frame in which it was seen, by frame.
    parent : int or None
        The track that it divided from.
    """

    id: int
    objects: Mapping[int, int] = field(hash=False)
    parent: int | None = None

    @property
    def first(self) -> int:
        """The frame in which it appears."""
        return min(self.objects)

    @property
    def last(self) -> int:
        """The frame in which it was seen last."""
        return max(self.objects)


@dataclass(frozen=True)
class LineageGraph:
    """All tracks of a film.

    Parameters
    ----------
    tracks : tuple of Track
        By id.
    frames : int
        How many there are.
    """

    tracks: tuple[Track, ...]
    frames: int

    def children(self, track: int) -> tuple[int, ...]:
        """Return the tracks that one divided into."""
        return tuple(one.id for one in self.tracks if one.parent == track)

    def of_frame(self, frame: int) -> dict[int, int]:
        """Return the track of each label of a frame."""
        return {one.objects[frame]: one.id for one in self.tracks if frame in one.objects}

    def relabelled(self, labels: np.ndarray, frame: int) -> np.ndarray:
        """Return a frame in which each object has the number of its track, uint32."""
        return _renumbered(labels, self.of_frame(frame))

    def ctc(self) -> tuple[np.ndarray, dict[tuple[int, int], int]]:
        """Return the tracks as the Cell Tracking Challenge has them: without gaps.

        A track that was out of sight goes on as a track of its own whose parent is what was before.

        Returns
        -------
        table : (n, 4) ndarray
            int64: L (the label), B and E (first and last frame), P (the parent, 0 for none).
        labels : dict
            L for each (frame, label of the object in it).

        Examples
        --------
        >>> mother, left = Track(1, {0: 5, 1: 5}), Track(2, {2: 7, 4: 8}, parent=1)
        >>> table, labels = LineageGraph((mother, left), 5).ctc()
        >>> table.tolist()
        [[1, 0, 1, 0], [2, 2, 2, 1], [3, 4, 4, 2]]
        >>> labels[4, 8]
        3
        """
        rows, labels = [], {}
        number = max((one.id for one in self.tracks), default=0)
        for track in self.tracks:
            current, parent, last = track.id, track.parent or 0, track.first - 1
            begin = track.first
            for frame in sorted(track.objects):
                if frame != last + 1:
                    rows.append((current, begin, last, parent))
                    number += 1
                    current, parent, begin = number, current, frame
                labels[frame, track.objects[frame]] = current
                last = frame
            rows.append((current, begin, last, parent))
        return np.array(sorted(rows), np.int64).reshape(-1, 4), labels


def write_ctc(folder: Path, frames: Iterable[np.ndarray], graph: LineageGraph) -> list[Path]:
    """Write tracks as the Cell Tracking Challenge has results: ``maskNNN.tif``, ``res_track.txt``.

    Parameters
    ----------
    folder : Path
        Made if absent; files of these names are replaced.
    frames : iterable of ndarray
        The labels that were linked, in order.
    graph : LineageGraph
        What `link` gave.

    Returns
    -------
    list of Path
        The table last.

    Raises
    ------
    InputError
        If there are more tracks than 16 bits can number, or the folder cannot be written.

    References
    ----------
    .. [1] Cell Tracking Challenge, naming and file content conventions,
       https://celltrackingchallenge.net
    """
    import tifffile

    table, numbers = graph.ctc()
    if len(table) and table[:, 0].max() > np.iinfo(np.uint16).max:
        raise InputError(
            f"There are {len(table)} tracks, and the Cell Tracking Challenge's pictures number "
            f"65535: leave out the smallest objects."
        )
    check_output_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    digits, paths = max(3, len(str(graph.frames - 1))), []
    for frame, labels in enumerate(frames):
        of_frame = {label: track for (at, label), track in numbers.items() if at == frame}
        path = folder / f"mask{frame:0{digits}}.tif"
        picture = _renumbered(labels, of_frame).astype(np.uint16)
        tifffile.imwrite(path, picture, compression="zlib")
        paths.append(path)
    path = folder / "res_track.txt"
    path.write_text("".join(f"{' '.join(map(str, row))}\n" for row in table.tolist()))
    return [*paths, path]


def _renumbered(labels: np.ndarray, numbers: Mapping[int, int]) -> np.ndarray:
    labels = np.asarray(labels)
    ids, which = np.unique(labels, return_inverse=True)
    given = np.array([numbers.get(int(one), 0) for one in ids], np.uint32)
    renumbered: np.ndarray = given[which].reshape(labels.shape)
    return renumbered
