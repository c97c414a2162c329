"""`napari-sam segment --boxes`: one mask for each box, on pictures and on scenes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from encoded_scenes import make_store
from PIL import Image

from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.files.boxes import DetectedBox
from napari_sam.files.zarr_images import open_zarr_image
from napari_sam.scene import open_scene
from napari_sam.segment.boxes import segment_boxes
from napari_sam.segment.everything import read_table
from napari_sam.segment.segmenter import Segmenter
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import EmbeddingStore
from napari_sam.tiles.tile_predictor import TilePredictor
from src_model import Sam, load_model

PIXELS = np.random.default_rng(3).integers(0, 255, (150, 200), dtype=np.uint8)
BOXES = [
    DetectedBox((20, 30, 40, 50), "a", "cell", 0.5),
    DetectedBox((5, 5, 140, 190), "big"),
    DetectedBox((100, 150, 115, 170), "b"),
    DetectedBox((30, 22, 44, 38), "c", None, 0.25),
]


def save(boxes: list[DetectedBox], path: Path) -> Path:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["row0", "col0", "row1", "col1", "id", "label", "score"])
        for box in boxes:
            table.writerow([*box.corners, box.id, box.label or "", box.score or ""])
    return path


def test_small_pictures_are_treated_as_with_box(tiny_weights: Path, tmp_path: Path) -> None:
    picture = tmp_path / "cells.png"
    Image.fromarray(PIXELS[:60, :64]).save(picture)
    small = [BOXES[0], DetectedBox((2, 3, 50.5, 60), "2"), DetectedBox((30, 22, 44, 38), "x")]
    file = save(small, tmp_path / "found.csv")
    model = ["--model", str(tiny_weights)]
    assert (
        main(["segment", str(picture), "--boxes", str(file), "-o", str(tmp_path / "a"), *model])
        == 0
    )
    given = [f"--box={','.join(map(str, box.corners))}" for box in small]
    assert main(["segment", str(picture), *given, "-o", str(tmp_path / "b"), *model]) == 0
    one, other = tmp_path / "a", tmp_path / "b"
    for name in ("cells_labels.tif", "cells_overlay.png"):
        same, pixels = (np.asarray(Image.open(folder / name)) for folder in (one, other))
        np.testing.assert_array_equal(same, pixels)
    rows, plain = (
        list(csv.DictReader((folder / "cells_objects.csv").open())) for folder in (one, other)
    )
    assert rows
    for row, without in zip(rows, plain, strict=True):
        assert without.items() <= row.items()
        box = next(box for box in small if box.id == row["box_id"])
        assert row["class"] == (box.label or "")
        assert row["box_score"] == ("" if box.score is None else f"{box.score:g}")


def test_scene() -> None:
    """Each box has the mask that `Segmenter` gives it, in scene pixels, though many at once."""
    pixels = np.full((700, 1500), 40, np.uint8)
    places = [(300, 700), (420, 640), (100, 1300), (550, 960), (60, 880)]
    rows, cols = np.indices(pixels.shape)
    for row, col in places:
        pixels[np.hypot(rows - row, cols - col) < 40] = 200
    pixels[600:680, 100:1450] = 150  # longer than a tile
    scene, sam = open_scene(pixels), load_model("vit_nano", "cpu")
    boxes = [DetectedBox((row - 41, col - 41, row + 41, col + 41), f"{row}") for row, col in places]
    boxes.insert(2, DetectedBox((598, 98, 682, 1452), "long", "bar"))
    store = make_store(scene, sam, tile=1024)
    told: list[tuple[int, int]] = []
    found = segment_boxes(scene, sam, boxes, store, lambda done, all_: told.append((done, all_)))
    assert found is not None
    assert told[-1] == (6, 6)
    assert (found.boxes, found.without) == (tuple(boxes), ())
    segmenter = Segmenter(scene, store, sam)
    for index, box in enumerate(boxes):
        (expected,) = segmenter.prompt(box=box.corners)
        region = found.objects.region(index)
        ours, theirs = np.zeros(scene.shape, bool), np.zeros(scene.shape, bool)
        ours[region.rows, region.cols] = found.objects.mask(index)
        theirs[expected.region] = expected.mask
        assert np.count_nonzero(ours ^ theirs) <= 0.02 * np.count_nonzero(theirs), box
        assert found.objects.areas[index] == np.count_nonzero(ours)
        np.testing.assert_allclose(found.objects.centroids[index], np.argwhere(ours).mean(0))
        assert found.objects.stabilities[index] == pytest.approx(expected.stability, abs=0.05)
    # The same without a store, but for the rounding of embeddings.
    again = segment_boxes(scene, sam, boxes[:2])
    assert again is not None
    np.testing.assert_allclose(again.objects.areas, found.objects.areas[:2], rtol=0.03)


def test_it_can_be_stopped(tiny_sam: Sam) -> None:
    assert segment_boxes(open_scene(PIXELS), tiny_sam, BOXES, should_stop=lambda: True) is None


def test_a_tile_that_cannot_be_read_costs_its_boxes(
    tiny_sam: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam.tiles.encoded_once import EncodedOnce

    at = EncodedOnce.at

    def broken(self: EncodedOnce, tile: TileId) -> TilePredictor:
        if tile.row == 0:
            raise InputError("The disk is damaged.")
        return at(self, tile)

    monkeypatch.setattr(EncodedOnce, "at", broken)
    found = segment_boxes(open_scene(PIXELS), tiny_sam, [BOXES[0], BOXES[2]])
    assert found is not None
    assert (BOXES[0], "The disk is damaged.") in found.without
    assert BOXES[0] not in found.boxes


def test_command_on_a_scene(
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, out = tmp_path / "scene.tif", tmp_path / "out"
    tifffile.imwrite(image, PIXELS)
    file = save([*BOXES, DetectedBox((900, 0, 950, 9), "far")], tmp_path / "found.csv")
    store = tmp_path / "kept"  # which lets a small image be seen in tiles
    arguments = ["segment", str(image), "--boxes", str(file), "-o", str(out), "--store", str(store)]
    assert main([*arguments, "--model", str(tiny_weights)]) == 0
    printed = capsys.readouterr().out
    assert "1 of 5 boxes lie outside of the image and are left out" in printed
    table = read_table(out / "scene_objects.parquet")
    assert pq.read_metadata(out / "scene_objects.parquet").num_rows == len(table)
    rows = {row["box_id"]: row for row in table.to_pylist()}
    for box in BOXES:
        if box.id in rows:
            assert (rows[box.id]["class"], rows[box.id]["box_score"]) == (box.label, box.score)
        else:
            assert f"box {box.id}: " in printed
    labels = np.asarray(open_zarr_image(out / "scene_labels.zarr").array)
    assert (labels.shape, labels.dtype) == (PIXELS.shape, np.uint32)
    assert set(np.unique(labels)) <= {0, *(row["id"] for row in rows.values())}
    assert labels.any()
    assert Image.open(out / "scene_overlay.png").size == (800, 600)
    assert sorted(path.name for path in out.iterdir()) == [
        "scene_labels.zarr",
        "scene_objects.parquet",
        "scene_overlay.png",
    ]
    # The next call encodes nothing, and replaces what was there.
    assert EmbeddingStore.open(store).progress().done
    monkeypatch.setattr(Embeddings, "_encode", lambda *_: pytest.fail("encoded again"))
    assert main([*arguments, "--model", str(tiny_weights)]) == 0
    np.testing.assert_array_equal(open_zarr_image(out / "scene_labels.zarr").array, labels)


def test_a_larger_image_has_its_store_beside_the_results(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out = tmp_path / "long.npy", tmp_path / "out"
    np.save(image, np.random.default_rng(5).integers(0, 255, (40, 1025), dtype=np.uint8))
    file = save([DetectedBox((5, 1000, 30, 1020), "a")], tmp_path / "found.csv")
    how = ["--boxes", str(file), "-o", str(out), "--model", str(tiny_weights)]
    assert main(["segment", str(image), *how]) == 0
    assert str(out / "long_labels.zarr") in capsys.readouterr().out
    assert EmbeddingStore.open(out / "long.embeddings").progress().done
    # One column less, and it is looked at as a whole.
    np.save(image, np.load(image)[:, 1:])
    assert main(["segment", str(image), *how]) == 0
    assert tifffile.imread(out / "long_labels.tif").shape == (40, 1024)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--everything"], "--boxes says what to segment"),
        (["--point", "3,4"], "--boxes says what to segment"),
        ([], "None of the 1 boxes in"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    image, out = tmp_path / "scene.tif", tmp_path / "out"
    tifffile.imwrite(image, PIXELS)
    file = save([DetectedBox((900, 0, 950, 9), "far")], tmp_path / "found.csv")
    assert main(["segment", str(image), "--boxes", str(file), "-o", str(out), *more]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not out.exists()
