"""What goes in and out of a session: labels, found objects, scripts; and what many objects cost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from made_sessions import ENVIRONMENT, SHAPE, Discs, made_scene, made_session, reopened, square

from napari_sam.errors import InputError
from napari_sam.scene import open_scene
from napari_sam.segment.everything import FoundObjects
from napari_sam.segment.objects import Candidate
from napari_sam.session import Session, SessionModel, read_masks
from napari_sam.sessions import importing
from napari_sam.sessions.index import BoxIndex
from napari_sam.tiles.regions import Region

BLOBS = np.kron(np.random.default_rng(1).integers(0, 6, (6, 5)), np.ones((4, 6), np.uint16))


@pytest.fixture
def session(tmp_path: Path) -> Any:
    with made_session(tmp_path / "cells") as made:
        yield made


@pytest.mark.parametrize("kind", ["numpy", "big endian", "dask", "zarr", "tiff", "npy"])
def test_labels_come_in_block_by_block_from_anywhere(
    session: Session, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "_BLOCK", 7)
    given: Any = BLOBS.astype(np.uint16)
    if kind == "big endian":
        given = given.astype(">i4")
    elif kind == "dask":
        given = da.from_array(given, chunks=5)
    elif kind == "zarr":
        array = zarr.create_array(tmp_path / "l.zarr", shape=SHAPE, chunks=(5, 5), dtype=np.uint16)
        array[:] = given
        given = tmp_path / "l.zarr"
    elif kind == "tiff":
        tifffile.imwrite(tmp_path / "l.tif", given)
        given = tmp_path / "l.tif"
    elif kind == "npy":
        np.save(tmp_path / "l.npy", given)
        given = tmp_path / "l.npy"
    values = set(np.unique(BLOBS)) - {0}
    assert session.import_labels(given, class_name="old") == {v: v for v in values}
    np.testing.assert_array_equal(session.labels(), BLOBS)
    assert {row["class"] for row in session.table()} == {"old"}


def test_labels_of_a_large_file_are_written_and_read_back(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam.files import rasters
    from napari_sam.sessions import label_files

    monkeypatch.setattr(label_files, "_BLOCK", 16)
    monkeypatch.setattr(rasters, "_COARSEST", 16)
    session.import_labels(BLOBS)
    session.add_object(square(0, 0, 2), 2**32 - 1, overlap="take_new")
    labels = session.labels()
    for _ in range(2):  # replaced by the second
        session.save_labels(tmp_path / "labels.tif")
    read = tifffile.imread(tmp_path / "labels.tif")
    assert read.dtype == np.uint32
    np.testing.assert_array_equal(read, labels)
    session.save_labels(tmp_path / "labels.ome.zarr")
    group: Any = zarr.open_group(tmp_path / "labels.ome.zarr", mode="r")
    np.testing.assert_array_equal(group["0"][:], labels)
    np.testing.assert_array_equal(group["1"][:], labels[::2, ::2])
    assert open_scene(tmp_path / "labels.ome.zarr").shape == SHAPE
    for name, why in (("labels.ome.zarr", "exists already"), ("labels.png", "does not end")):
        with pytest.raises(InputError, match=why):
            session.save_labels(tmp_path / name)
    assert not list(tmp_path.glob(".*"))


def _found() -> FoundObjects:
    """A cell of level 1 with a nucleus of level 0 in it, and another cell."""
    masks = [np.ones((4, 5), bool), np.ones((2, 3), bool), np.ones((3, 3), bool)]
    boxes = np.array([[2, 2, 10, 12], [4, 5, 6, 8], [14, 20, 17, 23]])
    return FoundObjects(
        shape=SHAPE,
        levels=np.array([1, 0, 0]),
        boxes=boxes,
        areas=np.array([80, 6, 9]),
        centroids=np.zeros((3, 2)),
        predicted_ious=np.float32([0.9, 0.8, 0.7]),
        stabilities=np.float32([0.9, 0.8, 0.7]),
        cuts=np.zeros(3, bool),
        pieces=np.ones(3, np.int64),
        _mask=masks.__getitem__,
    )


def test_all_that_was_found_comes_in_as_it_is_painted(session: Session) -> None:
    from napari_sam.segment.everything.label_pyramid import paint

    found = _found()
    assert session.add_objects(found, class_name="cell") == {0: 1, 1: 2, 2: 3}
    np.testing.assert_array_equal(session.labels(), paint(found, Region(0, 0, *SHAPE)))
    assert session.info(1).provenance.level == 1
    assert session.info(2).provenance.predicted_iou == pytest.approx(0.8)
    session.undo()
    session.add_object(square(0, 0, 10))
    session.add_objects(found)
    assert session.mask(4).area == 100
    assert session.ids == [4, 5, 7]  # the nucleus lies where an object was
    candidates = [Candidate(20, 20, np.ones((2, 2), bool), 0.9, 0.8, "grid")]
    assert session.add_objects(candidates, overlap="take_new") == {0: 8}


def test_masks_of_any_level_are_scaled_exactly() -> None:
    from napari_sam.session import Runs

    mask = np.random.default_rng(0).random((5, 6)) < 0.5
    for level in range(4):
        scaled = Runs.of_mask(mask, 2, 1).scaled(level)
        step = 1 << level
        expected = np.kron(np.pad(mask, ((2, 0), (1, 0))), np.ones((step, step))) > 0
        np.testing.assert_array_equal(scaled.within(Region(0, 0, *expected.shape)), expected)
        assert (np.diff(scaled.edges) > 0).all()
        assert Runs.from_json(scaled.to_json()) == scaled


def _touched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of the objects whose place is written."""
    touched: list[int] = []
    add = BoxIndex.add

    def counting(index: BoxIndex, number: int, box: Region) -> None:
        touched.append(number)
        add(index, number, box)

    monkeypatch.setattr(BoxIndex, "add", counting)
    return touched


def test_a_step_costs_the_same_with_ten_thousand_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (1200, 1200)
    costs = []
    touched = _touched(monkeypatch)
    for count in (1, 100, 10_000):
        path = tmp_path / str(count)
        with made_session(path, shape) as session:
            labels = np.zeros(shape, np.int32)
            for number in range(count):
                row, col = (11 * place + 50 for place in divmod(number, 100))
                labels[row : row + 8, col : col + 8] = number + 1
            session.import_labels(labels)
            session.add_point(52, 52, object_id=20_000)
            journal = max(path.glob("journal-*"))
            before = journal.stat().st_size
            touched.clear()
            session.accept(overlap="take_new")
            session.undo()
            session.redo()
            costs.append((journal.stat().st_size - before, len(touched)))
            looked_at = session._state._index((0, 0)).near(Region(50, 50, 60, 60))
            assert len(looked_at) <= 4
            assert session.object_at(52, 52) == 20_000
            expected = int(labels[1150, 1145])
            assert (session.object_at(1150, 1145) or 0) == expected
        with reopened(session) as again:
            assert len(again.ids) == len(np.unique(again.labels())) - 1
    sizes, objects = zip(*costs, strict=True)
    assert max(sizes) < 1.1 * min(sizes) < 3000
    assert len(set(objects)) == 1


def test_a_stroke_on_a_huge_object_writes_the_stroke(tmp_path: Path) -> None:
    with made_session(tmp_path / "s", (3000, 3000)) as session:
        rng = np.random.default_rng(0)
        labels = (rng.random((3000, 3000)) < 0.9).astype(np.uint8)
        session.import_labels(labels)
        journal = tmp_path / "s" / "journal-000001"
        before = journal.stat().st_size
        assert before > 100_000
        session.erase(1, square(1000, 1000, 10))
        session.paint(1, square(1000, 1000, 10))
        assert journal.stat().st_size - before < 2500


def _run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "again.py", "labels.tif"]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def test_a_script_repeats_the_session_with_the_network(tmp_path: Path) -> None:
    """The nano network in a process of its own gives the same labels, pixel by pixel."""
    from zarr.storage import MemoryStore

    from napari_sam.segment.segmenter import Segmenter
    from napari_sam.tiles.geometry import TileGeometry
    from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
    from src_model import load_model

    rows, cols = np.mgrid[:200, :260]
    pixels = np.full((2, 200, 260), 30, np.uint8)
    for row, col in ((60, 60), (120, 180)):
        pixels[:, np.hypot(rows - row, cols - col) < 25] = 190
    np.save(tmp_path / "image.npy", pixels)
    model = load_model("vit_nano", "cpu")

    def plane(z: int) -> Any:
        scene = open_scene(tmp_path / "image.npy", axes="ZYX", z=z)
        geometry = TileGeometry(scene.shape, tile=256, halo=32)
        store = EmbeddingStore.create(
            MemoryStore(), SceneInfo.of(scene), ModelInfo.of(model), geometry
        )
        return scene, Segmenter(scene, store, model), store

    scene, segmenter, store = plane(0)
    with Session.create(tmp_path / "s", scene, segmenter, model=SessionModel.of(store)) as session:
        session.add_point(60, 60)
        session.accept(choice=0, class_name="disc")
        session.prompt(box=(90, 150, 150, 210))
        session.accept()
        session.delete(2)
        session.undo()
        session.correct(2, points=[[120, 180], [190, 250]], labels=[1, 0], overlap="take_new")
        session.erase(1, square(50, 50, 6))
        session.paint(1, square(80, 40, 6, 30), "cut")
        session.go_to(*plane(1)[:2])
        session.add_point(120, 180)
        session.accept(class_name="disc")
        expected = [session.labels(plane=(0, z)) for z in (0, 1)]
        assert len(session.ids) == 3
        session.save_script(tmp_path / "again.py")
    text = (tmp_path / "again.py").read_text()
    assert "session.prompt(1, points=[[60.0, 60.0]])" in text
    assert "delete" not in text
    done = _run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 objects, the same as in the session.\n"
    for z in (0, 1):
        written = tifffile.imread(tmp_path / f"labels_t0_z{z}.tif")
        np.testing.assert_array_equal(written, expected[z])


def test_a_script_without_a_network_and_one_with_masks_of_another(tmp_path: Path) -> None:
    np.save(tmp_path / "image.npy", np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint8).reshape(SHAPE))
    with Session.create(tmp_path / "s", open_scene(tmp_path / "image.npy"), Discs()) as session:
        session.import_labels(BLOBS)
        session.relabel(1, 77, "x")
        session.save_script(tmp_path / "again.py")
        with pytest.raises(InputError, match="does not end"):
            session.save_script(tmp_path / "again.txt")
        expected = session.labels()
    done = _run(tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "labels.tif"), expected)
    (tmp_path / "again.masks.json").write_text("[]")
    with pytest.raises(InputError, match="masks of a script"):
        read_masks(tmp_path / "again.masks.json")


def test_planes_keep_to_the_image_they_came_from(tmp_path: Path) -> None:
    scene = made_scene()
    with made_session(tmp_path / "s") as session:
        assert session.scene.shape == scene.shape
        with pytest.raises(ValueError, match="reaches out"):
            session.labels(Region(0, 0, 25, 3))
        with pytest.raises(ValueError, match="no 9"):
            session.labels(level=9)
