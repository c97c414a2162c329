"""Objects of a film become tracks: they move, divide, hide, come and leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.segment.linking import LineageGraph, LinkSettings, Track, link, write_ctc

SHAPE = 120, 160

Thing = tuple[float, float, float]
"""Row, column and radius."""


def frame_of(things: dict[int, Thing]) -> np.ndarray:
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    labels = np.zeros(SHAPE, np.uint16)
    for number, (row, col, radius) in things.items():
        labels[np.hypot(rows - row, cols - col) <= radius] = number
    return labels


def steps_of(graph: LineageGraph) -> list[tuple[dict[int, int], int | None]]:
    return [(dict(track.objects), track.parent) for track in graph.tracks]


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 6), frames=st.integers(2, 8))
def test_things_that_move_keep_their_tracks_whatever_their_labels(
    seed: int, count: int, frames: int
) -> None:
    rng = np.random.default_rng(seed)
    starts = [(25 + 35 * (n // 3), 25 + 50 * (n % 3)) for n in range(count)]
    velocities = rng.uniform(-1.5, 1.5, (count, 2))
    radii = rng.uniform(6, 10, count)
    names = [rng.permutation(np.arange(1, 40))[:count] for _ in range(frames)]
    film = [
        frame_of(
            {
                int(names[t][n]): (
                    starts[n][0] + t * velocities[n, 0],
                    starts[n][1] + t * velocities[n, 1],
                    radii[n] + rng.uniform(-0.5, 0.5),
                )
                for n in range(count)
            }
        )
        for t in range(frames)
    ]
    found = steps_of(link(iter(film)))
    truth = [{t: int(names[t][n]) for t in range(frames)} for n in range(count)]
    assert sorted(str(objects) for objects, _ in found) == sorted(map(str, truth))
    assert all(parent is None for _, parent in found)
    # Every object of every frame is in exactly one track, and the frames say so.
    graph = link(film)
    for t, labels in enumerate(film):
        again = graph.relabelled(labels, t)
        assert ((again > 0) == (labels > 0)).all()
        assert len(np.unique(again)) == len(np.unique(labels))


def test_fast_things_are_met_where_they_were_going() -> None:
    film = [frame_of({1: (60, 20 + 14 * t, 7), 2: (60, 48 + 14 * t, 7)}) for t in range(6)]
    graph = link(film)
    assert steps_of(graph) == [
        (dict.fromkeys(range(6), 1), None),
        (dict.fromkeys(range(6), 2), None),
    ]


def test_one_becomes_two() -> None:
    film = [frame_of({4: (60, 60 + t, 12)}) for t in range(3)]
    film += [frame_of({8: (60 - 4 * t, 63, 8), 9: (60 + 4 * t, 63, 8)}) for t in range(2, 5)]
    graph = link(film)
    assert steps_of(graph) == [
        ({0: 4, 1: 4, 2: 4}, None),
        ({3: 8, 4: 8, 5: 8}, 1),
        ({3: 9, 4: 9, 5: 9}, 1),
    ]
    assert graph.children(1) == (2, 3)
    table, _ = graph.ctc()
    assert table.tolist() == [[1, 0, 2, 0], [2, 3, 5, 1], [3, 3, 5, 1]]
    undivided = link(film, LinkSettings(divide=False))
    assert [parent for _, parent in steps_of(undivided)] == [None, None]


def test_what_comes_beside_a_thing_is_not_its_child() -> None:
    large = {1: (60.0, 60.0, 12.0)}
    film = [frame_of(large), frame_of({**large, 2: (60, 76, 3)})]  # a speck
    film.append(frame_of({**large, 2: (60, 76, 3), 3: (60, 86, 6)}))  # the thing did not shrink
    assert [parent for _, parent in steps_of(link(film))] == [None, None, None]


def test_things_leave_come_and_hide() -> None:
    here, there = {1: (30.0, 30.0, 8.0)}, {2: (90.0, 120.0, 8.0)}
    film = [frame_of(things) for things in ({**here, **there}, here, {**here, **there}, there)]
    assert steps_of(link(film)) == [({0: 1, 1: 1, 2: 1}, None), ({0: 2, 2: 2, 3: 2}, None)]
    assert steps_of(link(film, LinkSettings(gap=0))) == [
        ({0: 1, 1: 1, 2: 1}, None),
        ({0: 2}, None),
        ({2: 2, 3: 2}, None),
    ]


def test_frames_may_be_empty_or_volumes() -> None:
    nothing = np.zeros(SHAPE, np.uint8)
    assert link([]) == LineageGraph((), 0)
    assert link([nothing, nothing]) == LineageGraph((), 2)
    volume = np.zeros((2, 5, 20, 20), np.uint8)
    volume[0, 1:4, 5:10, 5:10] = 1
    volume[1, 1:4, 6:11, 6:11] = 9
    assert steps_of(link(volume)) == [({0: 1, 1: 9}, None)]


def test_what_is_no_film_is_refused() -> None:
    with pytest.raises(InputError, match="Frame 1 has shape"):
        link([np.zeros((4, 4), int), np.zeros((4, 5), int)])
    with pytest.raises(InputError, match="Frame 0 has shape"):
        link([np.zeros((4, 4))])
    for wrong in ({"reach": 0}, {"gap": -1}, {"alike": 0.5}, {"conserved": (2, 1)}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            LinkSettings(**wrong)


@settings(max_examples=30)
@given(
    seen=st.lists(st.sets(st.integers(0, 9), min_size=1), min_size=1, max_size=4),
)
def test_the_challenges_tracks_have_no_gaps_and_parents_end_before(
    seen: list[set[int]],
) -> None:
    tracks, parent = [], None
    for number, frames in enumerate(seen, start=1):
        tracks.append(Track(number, dict.fromkeys(frames, number), parent))
    graph = LineageGraph(tuple(tracks), 10)
    table, labels = graph.ctc()
    rows = {row[0]: row for row in table.tolist()}
    assert len(rows) == len(table)
    for number, begin, end, parent in table.tolist():
        assert [
            t for t in range(10) if number in {v for (f, _), v in labels.items() if f == t}
        ] == (list(range(begin, end + 1)))
        assert not parent or rows[parent][2] < begin
    assert set(labels) == {(t, track.id) for track in tracks for t in track.objects}


def test_a_folder_for_the_cell_tracking_challenge(tmp_path: Path) -> None:
    film = [frame_of({5: (60, 60, 12)}), frame_of({8: (52, 60, 8), 9: (68, 60, 8)})]
    graph = link(film)
    paths = write_ctc(tmp_path / "01_RES", film, graph)
    assert [path.name for path in paths] == ["mask000.tif", "mask001.tif", "res_track.txt"]
    assert paths[-1].read_text() == "1 0 0 0\n2 1 1 1\n3 1 1 1\n"
    second = tifffile.imread(paths[1])
    assert second.dtype == np.uint16
    assert (second[film[1] == 9] == 3).all()
    assert (second[film[1] == 0] == 0).all()
