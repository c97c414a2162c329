"""Everything in a scene, with a network that is perfect: what is lost or doubled is our fault."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everything_scenes import THRESHOLDS, discs, find, make_store, scene_of, whole

from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.segment.everything import (
    Everything,
    EverythingProgress,
    FoundObjects,
    read_table,
    segment_everything,
    write_overview,
    write_table,
)
from napari_sam.segment.everything.overview import draw_overview
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import EmbeddingStore, StoreMismatch
from src_model import Sam

SMALL = discs((160, 190), (6, 10), 30)
MIXED = discs((200, 240), (35, 45), 3)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def check_ids(objects: FoundObjects) -> None:
    """Ids count up along the first pixels, row by row."""
    assert objects.ids.tolist() == list(range(1, len(objects) + 1))
    firsts = []
    for index in range(len(objects)):
        mask = objects.mask_at(index, Region(0, 0, *objects.shape))
        firsts.append(tuple(np.argwhere(mask)[0]))
    levels = objects.levels
    exact = [first for first, level in zip(firsts, levels, strict=True) if level == 0]
    assert exact == sorted(exact)


def test_small_objects_are_found_exactly_and_once(tiny_sam: Sam, sees: Any) -> None:
    sees(SMALL)
    result, _ = find(SMALL, tiny_sam, sizes=(10, 25))
    objects = result.objects
    assert (result.failed, result.left) == ((), 0)
    assert len(objects) == SMALL.max()
    assert not objects.cuts.any()
    labels = whole(objects)
    np.testing.assert_array_equal(labels > 0, SMALL > 0)
    assert len({*zip(labels[labels > 0], SMALL[labels > 0], strict=True)}) == SMALL.max()
    check_ids(objects)


def test_without_stitching_there_are_duplicates(tiny_sam: Sam, sees: Any) -> None:
    sees(SMALL)
    result, _ = find(SMALL, tiny_sam, sizes=(10, 25))
    assert len(result.everything.filter(THRESHOLDS, stitch=False)) > 1.1 * SMALL.max()


def test_large_objects_are_taken_whole_from_a_coarser_level(tiny_sam: Sam, sees: Any) -> None:
    sees(MIXED, encoded=True)
    result, store = find(MIXED, tiny_sam)
    assert store.progress().done == result.done
    assert len(result.objects) == MIXED.max() == 3
    assert (result.objects.levels > 0).all()
    assert not result.objects.cuts.any()
    for index in range(3):
        mask = result.objects.mask_at(index, Region(0, 0, *MIXED.shape))
        assert max(iou(mask, number == MIXED) for number in (1, 2, 3)) > 0.9


@pytest.mark.parametrize("kind", ["disc", "river", "ring", "corner"])
def test_pieces_are_joined_where_no_coarser_level_helps(
    tiny_sam: Sam, sees: Any, kind: str
) -> None:
    rows, cols = np.indices((180, 190))
    distance = np.hypot(rows - 90, cols - 95)
    shapes = {
        "disc": distance < 50,
        "river": np.abs(rows - 90 - 45 * np.sin(cols / 30)) < 7,
        "ring": np.abs(distance - 70) < 6,
        "corner": ((np.abs(rows - 40) < 9) & (cols > 20)) | ((np.abs(cols - 29) < 9) & (rows > 31)),
    }
    truth = shapes[kind].astype(np.uint32)
    sees(truth)
    result, _ = find(truth, tiny_sam)
    everything = result.everything
    # Only level 0 is left.
    fine = Everything(
        everything._store,
        everything._records,
        [tile for tile in everything.candidates.tiles if tile.level == 0],
    )
    objects = fine.filter(THRESHOLDS)
    assert len(objects) == 1
    assert objects.pieces[0] > 3
    assert not objects.cuts[0]
    assert objects.areas[0] == truth.sum()
    np.testing.assert_array_equal(whole(objects) > 0, truth > 0)
    np.testing.assert_allclose(objects.centroids[0], np.argwhere(truth).mean(0))


def test_a_piece_without_partner_is_kept_and_marked(tiny_sam: Sam, sees: Any) -> None:
    truth = np.zeros((200, 230), np.uint32)
    truth[80:100, 10:220] = 1
    sees(truth)
    result, store = find(truth, tiny_sam)
    tiles = result.everything.candidates.tiles
    row = [tile for tile in tiles if tile.level == tile.col == 0]
    alone = Everything(store, result.everything._records, row)
    objects = alone.filter(THRESHOLDS)
    assert len(objects) == 1
    assert objects.cuts[0]


def table_of(objects: FoundObjects, folder: Path, name: str) -> list[dict[str, Any]]:
    write_table(objects, folder / f"{name}.parquet")
    return list(read_table(folder / f"{name}.parquet").to_pylist())


def test_order_of_tiles_does_not_matter(tiny_sam: Sam, sees: Any, tmp_path: Path) -> None:
    small = discs(MIXED.shape, (6, 8), 25, seed=3)
    labels = np.where(MIXED > 0, MIXED, np.where(small > 0, small + 10, 0)).astype(np.uint32)
    clicked = sees(labels)
    straight, _ = find(labels, tiny_sam)
    total = len(clicked)
    clicked.clear()
    scene = scene_of(labels)
    store = make_store(scene, tiny_sam)
    options: dict[str, Any] = {"thresholds": THRESHOLDS, "sizes": (10, None)}
    segment_everything(
        scene, store, tiny_sam, roi=Region(110, 110, 130, 130), **options
    )  # some from the middle
    steps = iter([False] * 4)
    stopped = segment_everything(
        scene, store, tiny_sam, should_stop=lambda: next(steps, True), **options
    )
    assert stopped.done == 4
    assert stopped.left > 0
    resumed = segment_everything(scene, store, tiny_sam, **options)
    assert len(clicked) == len(set(clicked)) == total
    one = table_of(straight.objects, tmp_path, "straight")
    assert one == table_of(resumed.objects, tmp_path, "resumed")
    again = Everything.open(store).filter(THRESHOLDS)
    assert one == table_of(again, tmp_path, "again")


@pytest.mark.parametrize("halo", [14, 20])
def test_where_tiles_lie_does_not_matter(tiny_sam: Sam, sees: Any, halo: int) -> None:
    sees(SMALL)
    one, _ = find(SMALL, tiny_sam, sizes=(10, 25))
    other, _ = find(SMALL, tiny_sam, sizes=(10, 25), halo=halo)
    np.testing.assert_array_equal(whole(one.objects), whole(other.objects))


def test_damaged_candidates_are_found_again(tiny_sam: Sam, sees: Any, tmp_path: Path) -> None:
    clicked = sees(SMALL)
    first, store = find(SMALL, tiny_sam, where=tmp_path / "store", sizes=(10, 25))
    folder = next((tmp_path / "store" / "everything").iterdir())
    damaged, removed = folder / "0.1.1", folder / "0.2.0"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-20] + bytes(20))
    removed.unlink()
    assert Everything.open(store).damaged == (TileId(0, 1, 1),)
    clicked.clear()
    scene = scene_of(SMALL)
    again = segment_everything(scene, store, tiny_sam, sizes=(10, 25), thresholds=THRESHOLDS)
    assert sorted(clicked) == [TileId(0, 1, 1), TileId(0, 2, 0)]
    np.testing.assert_array_equal(whole(first.objects), whole(again.objects))
    store.save_zip(tmp_path / "store.zip")
    zipped = EmbeddingStore.open(tmp_path / "store.zip")
    np.testing.assert_array_equal(
        whole(Everything.open(zipped).filter(THRESHOLDS)), whole(first.objects)
    )
    (folder / "pairs").write_bytes(b"nonsense")
    np.testing.assert_array_equal(
        whole(Everything.open(store).filter(THRESHOLDS)), whole(first.objects)
    )


@pytest.mark.parametrize("times", [2, 3])
def test_failed_tiles_are_listed_and_hatched(
    tiny_sam: Sam, sees: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, times: int
) -> None:
    sees(SMALL)
    bad, left = TileId(0, 1, 2), [True] * times
    at = Embeddings.at

    def failing(embeddings: Embeddings, tile: TileId) -> Any:
        if tile == bad and left:
            left.pop()
            raise OSError("the network is away\nor so")
        return at(embeddings, tile)

    monkeypatch.setattr(Embeddings, "at", failing)
    reports: list[EverythingProgress] = []
    options: dict[str, Any] = {"sizes": (10, 25), "on_progress": reports.append}
    result, store = find(SMALL, tiny_sam, **options)
    assert reports[-1].settled == reports[-1].total
    if times == 2:
        assert result.failed == ()
        assert len(result.objects) == SMALL.max()
        return
    (failure,) = result.failed
    assert (failure.tile, failure.reason, failure.times) == (bad, "the network is away", 3)
    assert 0 < len(result.objects) <= SMALL.max()
    scene = scene_of(SMALL)
    one = draw_overview(scene, result.objects, store.geometry, [])
    other = draw_overview(scene, result.objects, store.geometry, [bad])
    scale = one.shape[0] / SMALL.shape[0]
    core = store.geometry.core(bad)
    changed = np.argwhere((one != other).any(-1)) / scale
    assert (changed.min(0) >= np.array([core.row0, core.col0]) - 1).all()
    assert (changed.max(0) <= [core.row1, core.col1]).all()
    write_overview(tmp_path / "o.png", scene, result.objects, store.geometry, [bad])
    assert segment_everything(scene, store, tiny_sam, sizes=(10, 25)).failed == (failure,)
    again = segment_everything(
        scene, store, tiny_sam, sizes=(10, 25), thresholds=THRESHOLDS, retry_failed=True
    )
    assert (again.failed, again.done) == ((), 1)
    assert len(again.objects) == SMALL.max()


def test_empty_tiles_have_no_objects(tiny_sam: Sam, sees: Any) -> None:
    clicked = sees(SMALL, encoded=True)
    scene = open_scene(np.zeros(SMALL.shape, np.uint8))
    store = make_store(scene, tiny_sam)
    result = segment_everything(scene, store, tiny_sam)
    assert (len(result.objects), result.failed, result.left, clicked) == (0, (), 0, [])
    assert result.done == sum(1 for level in store.levels for _ in store.geometry.tiles(level))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predicted_iou": 0.1}, "0.1 for the predicted IoU cannot be used"),
        ({"stability": 0.2}, "stability"),
        ({"overlap": 0.1}, "overlap"),
        ({"overlap": 1.1}, "overlap"),
    ],
)
def test_bad_thresholds(tiny_sam: Sam, sees: Any, changes: Any, words: str) -> None:
    sees(SMALL)
    result, _ = find(SMALL, tiny_sam, sizes=(10, 25), roi=Region(0, 0, 10, 10))
    with pytest.raises(InputError, match=words):
        result.everything.filter(THRESHOLDS, **changes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": (20, 6)}, "cannot be looked for"),
        ({"sizes": (10, 25), "unit": "µm"}, "how large its pixels are"),
        ({"roi": Region(900, 0, 901, 9)}, "shares no area"),
    ],
)
def test_bad_choices(tiny_sam: Sam, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        find(SMALL, tiny_sam, **options)


def test_another_model_is_refused(tiny_sam: Sam, tmp_path: Path) -> None:
    scene = scene_of(SMALL)
    store = make_store(scene, tiny_sam, tmp_path / "store")
    with pytest.raises(InputError, match="none yet"):
        Everything.open(store)
    other = Sam(dataclasses.replace(tiny_sam.variant, name="other")).eval()
    with pytest.raises(StoreMismatch, match="another model"):
        segment_everything(scene, store, other)


def test_several_settings_beside_each_other(tiny_sam: Sam, sees: Any) -> None:
    sees(SMALL)
    scene: Scene = scene_of(SMALL)
    store = make_store(scene, tiny_sam)
    options: dict[str, Any] = {"roi": Region(0, 0, 9, 9), "thresholds": THRESHOLDS}
    one = segment_everything(scene, store, tiny_sam, sizes=(10, 25), **options)
    segment_everything(scene, store, tiny_sam, sizes=(10, 30), **options)
    with pytest.raises(InputError, match="several"):
        Everything.open(store)
    key = one.everything.settings.key
    assert Everything.open(store, key).settings == one.everything.settings
    with pytest.raises(InputError, match="no raw candidates unknown"):
        Everything.open(store, "unknown")
