"""Edges: what a tile's masks give, no seams between tiles, files that are whole or not there."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from encoded_scenes import make_store
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.files.edge_files import write_edges
from napari_sam.files.zarr_images import open_zarr_image
from napari_sam.scene import PixelSize, Scene, open_scene
from napari_sam.segment import edge_map
from napari_sam.segment.edge_map import EdgeMap, find_edges
from napari_sam.segment.edges import blend_weights, smooth, thin, tile_edges
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.encoded_once import EncodedOnce
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import State
from napari_sam.tiles.tile_predictor import TilePredictor
from src_model import Sam, SamPredictor
from src_model.masks import box_nms

PIXELS = np.random.default_rng(3).integers(0, 255, (150, 200), dtype=np.uint8)
WHOLE = Region(0, 0, 150, 200)


def whole(edges: EdgeMap, thinned: bool = True) -> np.ndarray:
    return edges.read(Region(0, 0, *edges.shape), thinned)


def lines(shape: tuple[int, int], level: int = 0) -> np.ndarray:
    """Return edges that are the same whatever tile sees them: circles around one centre."""
    rows, cols = np.indices(shape) * 2**level
    return np.maximum(0, np.cos(np.hypot(rows - 31, cols - 77) / 4)).astype(np.float32)


@pytest.fixture
def consistent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every tile see the same edges, but near its border what is not there."""
    pattern = lines(WHOLE.shape)

    def seen(tile: TilePredictor) -> np.ndarray:
        edges = pattern[tile.window.rows, tile.window.cols].copy()
        high, wide = edges.shape
        for axis, (start, stop, length) in enumerate(
            [
                (tile.window.row0, tile.window.row1, WHOLE.row1),
                (tile.window.col0, tile.window.col1, WHOLE.col1),
            ]
        ):
            across = np.moveaxis(edges, axis, 0)
            if start > 0:
                across[:4] = 1
            if stop < length:
                across[-4:] = 1
        assert (high, wide) == tile.window.shape
        return edges

    monkeypatch.setattr(edge_map, "tile_edges", seen)


def found(sam: Sam, folder: Path, halo: int = 8, scene: Scene | None = None) -> EdgeMap:
    scene = open_scene(PIXELS) if scene is None else scene
    geometry = TileGeometry(scene.shape, tile=64, halo=halo)
    edges = find_edges(geometry, EncodedOnce(scene, geometry, sam), folder)
    assert edges is not None
    return edges


def test_edges_of_a_tile_are_the_slopes_around_its_masks(tiny_sam: Sam) -> None:
    """Compare with the paper's words, one mask after the other at full size."""
    scene = open_scene(PIXELS[:50, :64])
    geometry = TileGeometry(scene.shape, tile=64, halo=8)
    tile = EncodedOnce(scene, geometry, tiny_sam).at(TileId(0, 0, 0))
    predictor = SamPredictor(tiny_sam)
    predictor.set_image(scene.read_rgb(0, slice(None), slice(None)))
    down, across = ((np.arange(16) + 0.5) / 16 * side - 0.5 for side in scene.shape)
    masks, ious, boxes = [], [], []
    for y in down:
        for x in across:
            logits, iou, low_res = predictor.predict(
                np.array([[x, y]]), np.array([1]), return_logits=True
            )
            for mask, score, low in zip(logits, iou, low_res, strict=True):
                inside = low[:13] > 0  # 50 of 64 rows of the frame are the picture
                if inside.any():
                    rows, cols = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
                    masks.append(mask)
                    ious.append(score)
                    boxes.append((cols[0], rows[0], cols[-1] + 1, rows[-1] + 1))
    kept = box_nms(np.array(boxes), np.array(ious), 0.7)
    expected = np.zeros(scene.shape)
    for index in kept:
        mask = masks[index] > 0
        ring = ndimage.binary_dilation(mask, np.ones((3, 3))) & ~mask
        probability = 1 / (1 + np.exp(-masks[index].astype(float)))
        slope = [ndimage.sobel(probability, axis, mode="nearest") / 4 for axis in (0, 1)]
        expected = np.maximum(expected, np.where(ring, np.hypot(*slope), 0))
    assert len(kept) < len(masks)
    assert expected.max() > 0
    np.testing.assert_allclose(tile_edges(tile), expected, atol=1e-4)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 70), st.floats(0, 0.49), st.data())
def test_what_tiles_have_to_say_adds_up_to_one(
    rows: int, cols: int, tile: int, halo: float, data: st.DataObject
) -> None:
    geometry = TileGeometry((rows, cols), tile, min(math.floor(halo * tile), (tile - 1) // 2))
    level = data.draw(st.integers(0, geometry.levels - 1))
    total = np.zeros(geometry.level_shape(level))
    for each in geometry.tiles(level):
        down, across = blend_weights(geometry, each)
        window = geometry.window(each)
        assert (len(down), len(across)) == window.shape
        assert min(down.min(), across.min()) >= 0
        total[window.rows, window.cols] += down[:, None] * across
    np.testing.assert_allclose(total, 1, atol=1e-5)


@pytest.mark.usefixtures("consistent")
@pytest.mark.parametrize("halo", [8, 16])
def test_borders_of_tiles_do_not_show(tiny_sam: Sam, tmp_path: Path, halo: int) -> None:
    edges = found(tiny_sam, tmp_path, halo)
    strength = smooth(lines(WHOLE.shape))
    expected = strength / strength.max()
    np.testing.assert_allclose(whole(edges, thinned=False), expected, atol=1e-3)
    assert edges.strongest == pytest.approx(float(strength.max()), abs=1e-3)


def test_one_tile_is_the_picture_at_once(tiny_sam: Sam, tmp_path: Path) -> None:
    scene = open_scene(PIXELS[:60, :64])
    edges = found(tiny_sam, tmp_path, scene=scene)
    geometry = TileGeometry(scene.shape, tile=64, halo=8)
    strength = smooth(tile_edges(EncodedOnce(scene, geometry, tiny_sam).at(TileId(0, 0, 0))))
    np.testing.assert_allclose(
        whole(edges, thinned=False), strength / strength.max(), rtol=1e-5, atol=1e-6
    )
    assert whole(edges).max() == 1


@pytest.fixture(scope="module")
def some_edges(tiny_sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> EdgeMap:
    return found(tiny_sam, tmp_path_factory.mktemp("edges"))


def test_steps_at_borders_are_those_of_the_tiles(some_edges: EdgeMap, tiny_sam: Sam) -> None:
    """Tiles of a network differ: where they meet, that adds nothing to what each has there."""
    scene = open_scene(PIXELS)
    geometry = TileGeometry(scene.shape, tile=64, halo=8)
    tiles = EncodedOnce(scene, geometry, tiny_sam)
    strength = whole(some_edges, thinned=False) * some_edges.strongest
    for left, right in pairwise(geometry.tiles(0, Region(64, 0, 65, 200))):
        border = geometry.core(right).col0
        rows = geometry.core(right).rows
        own = []
        for tile in (left, right):
            window = geometry.window(tile)
            seen = smooth(tile_edges(tiles.at(tile)))[rows.start - window.row0 :]
            seen = seen[: rows.stop - rows.start, border - 1 - window.col0 :]
            own.append(np.abs(seen[:, 1] - seen[:, 0]).mean())
        blended = np.abs(strength[rows, border] - strength[rows, border - 1]).mean()
        assert blended < 1.2 * max(own)


@settings(max_examples=30)
@given(st.data())
def test_parts_are_the_same_as_the_whole(some_edges: EdgeMap, data: st.DataObject) -> None:
    row0, row1 = sorted(data.draw(st.tuples(st.integers(0, 149), st.integers(1, 150))))
    col0, col1 = sorted(data.draw(st.tuples(st.integers(0, 199), st.integers(1, 200))))
    part = Region(row0, col0, row1, col1)
    for thinned in (True, False):
        np.testing.assert_array_equal(
            some_edges.read(part, thinned), whole(some_edges, thinned)[part.rows, part.cols]
        )


@given(st.floats(0, 180), st.floats(-0.5, 0.5))
def test_a_line_in_any_direction_becomes_thin(angle: float, shift: float) -> None:
    rows, cols = np.indices((61, 61)) - 30.0
    turned = math.radians(angle)
    distance = rows * math.cos(turned) - cols * math.sin(turned) - shift
    strength = np.exp(-(distance**2) / 4).astype(np.float32)
    inner = slice(10, -10), slice(10, -10)
    crest = thin(strength)[inner] > 1e-3
    assert np.abs(distance[inner][crest]).max() <= 1
    # One pixel in each row or column that the line crosses, two where it steps aside.
    along = int(abs(math.cos(turned)) < abs(math.sin(turned)))
    # At the ends it may have left the part.
    assert set(crest.sum(along)[2:-2].tolist()) <= {1, 2}


def test_nothing_is_found_where_nothing_is_seen(tiny_sam: Sam, tmp_path: Path) -> None:
    edges = found(tiny_sam, tmp_path, scene=open_scene(np.zeros((80, 90), np.uint8)))
    assert (edges.strongest, edges.unseen) == (0, ())
    assert not whole(edges).any()


def test_a_tile_that_cannot_be_read_is_told(
    tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = open_scene(PIXELS)
    geometry = TileGeometry(scene.shape, tile=64, halo=8)
    bad = TileId(0, 1, 1)

    class Broken(EncodedOnce):
        def at(self, tile: TileId) -> TilePredictor:
            if tile == bad:
                raise InputError("The disk is damaged.")
            return super().at(tile)

    edges = find_edges(geometry, Broken(scene, geometry, tiny_sam), tmp_path)
    assert edges is not None
    assert edges.unseen == ((bad, "The disk is damaged."),)
    core = geometry.core(bad)
    inside = Region(core.row0 + 12, core.col0 + 12, core.row1 - 12, core.col1 - 12)
    assert not edges.read(inside, thinned=False).any()
    assert edges.read(Region(0, 0, 40, 40)).any()


def test_a_failed_tile_of_a_store_is_told(tiny_sam: Sam, tmp_path: Path) -> None:
    scene = open_scene(PIXELS)
    store = make_store(scene, tiny_sam)
    store.mark_failed(TileId(0, 0, 0), "no power")
    edges = find_edges(store.geometry, Embeddings(store, tiny_sam, scene), tmp_path)
    assert edges is not None
    assert [tile for tile, _ in edges.unseen] == [TileId(0, 0, 0)]


def test_it_can_be_stopped(tiny_sam: Sam, tmp_path: Path) -> None:
    scene = open_scene(PIXELS)
    geometry = TileGeometry(scene.shape, tile=64, halo=8)
    told: list[tuple[int, int]] = []
    stopped = find_edges(
        geometry,
        EncodedOnce(scene, geometry, tiny_sam),
        tmp_path,
        on_progress=lambda done, total: told.append((done, total)),
        should_stop=lambda: len(told) == 3,
    )
    assert stopped is None
    assert told == [(1, 12), (2, 12), (3, 12)]


def test_tiff(some_edges: EdgeMap, tmp_path: Path) -> None:
    path = tmp_path / "edges.tif"
    path.write_text("an earlier result")
    write_edges(some_edges, path)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        assert (page.is_tiled, page.dtype, page.compression) == (True, np.float32, 8)
        np.testing.assert_array_equal(tiff.asarray(), whole(some_edges))
    assert list(tmp_path.iterdir()) == [path]


def test_zarr_with_levels(tmp_path: Path) -> None:
    import zarr

    squares = zarr.create_array(tmp_path / "s", shape=(1100, 1301), chunks=(512, 512), dtype="f4")
    rng = np.random.default_rng(0)
    squares[500:700, 900:1301] = rng.random((200, 401)).astype(np.float32)
    edges = EdgeMap(1, 0.5, (), squares)
    path = tmp_path / "edges.zarr"
    write_edges(edges, path, thinned=False, pixel_size=PixelSize(0.5, 0.5, "micrometer"))
    image = open_zarr_image(path)
    assert (image.scale, image.units) == ((1.0, 1.0), ("micrometer", "micrometer"))
    levels = [np.asarray(array) for array in (image.array, *image.coarser)]
    np.testing.assert_array_equal(levels[0], whole(edges, thinned=False))
    assert [level.shape for level in levels] == [(1100, 1301), (550, 651)]
    for finer, coarser in pairwise(levels):
        padded = np.pad(finer, [(0, side % 2) for side in finer.shape])
        blocks = padded.reshape(coarser.shape[0], 2, coarser.shape[1], 2)
        np.testing.assert_array_equal(coarser, blocks.max((1, 3)))


@pytest.mark.parametrize("name", ["edges.tif", "edges.zarr"])
def test_a_failure_leaves_nothing(some_edges: EdgeMap, tmp_path: Path, name: str) -> None:
    def fail(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        write_edges(some_edges, tmp_path / name, on_progress=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, PIXELS)
    return path


def test_command(
    image: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(tiny_weights), "--device", "cpu"]
    out = tmp_path / "edges.tif"
    assert main(["edges", str(image), "-o", str(out), *model]) == 0
    assert "edges.tif: 150 × 200 pixels, level 0" in capsys.readouterr().out
    once = tifffile.imread(out)
    assert (once.shape, once.dtype, once.max()) == ((150, 200), np.float32, 1)
    # The same from a store, but for the rounding of embeddings.
    store = tmp_path / "store"
    assert main(["encode", str(image), "-o", str(store), "--levels", "0", *model]) == 0
    stored = tmp_path / "stored.tif"
    arguments = ["edges", str(image), "-o", str(stored), "--store", str(store), "--no-thin", *model]
    assert main(arguments) == 0
    assert main(["edges", str(image), "-o", str(out), "--no-thin", *model]) == 0
    difference = np.abs(tifffile.imread(stored) - tifffile.imread(out))
    assert difference.mean() < 0.02
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_command_at_a_coarser_level(image: Path, tiny_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "edges.zarr"
    arguments = ["edges", str(image), "-o", str(out), "--level", "1", "--model", str(tiny_weights)]
    assert main(arguments) == 0
    array: Any = open_zarr_image(out).array
    assert array.shape == (75, 100)


@pytest.mark.parametrize(
    ("output", "more", "words"),
    [
        ("edges.png", [], "does not end in .tif or .zarr"),
        ("there.zarr", [], "exists already"),
        ("nowhere/edges.tif", [], "is no folder that can be written to"),
        ("edges.tif", ["--level", "9"], "has the levels 0 to 2 and no 9"),
        ("edges.tif", ["--store", "nothing"], "nothing"),
    ],
)
def test_what_cannot_be_is_refused(
    image: Path,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    output: str,
    more: list[str],
    words: str,
) -> None:
    (tmp_path / "there.zarr").mkdir()
    before = set(tmp_path.iterdir())
    arguments = ["edges", str(image), "-o", str(tmp_path / output), "--model", str(tiny_weights)]
    assert main([*arguments, *more]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


def test_an_empty_tile_is_no_failure(tiny_sam: Sam, tmp_path: Path) -> None:
    pixels = PIXELS.copy()
    pixels[:, 100:] = 7
    scene = open_scene(pixels)
    store = make_store(scene, tiny_sam)
    edges = find_edges(store.geometry, Embeddings(store, tiny_sam, scene), tmp_path / "stored")
    assert edges is not None
    assert edges.unseen == ()
    assert store.state(TileId(0, 0, 3)) is State.EMPTY
    assert found(tiny_sam, tmp_path / "once", scene=scene).unseen == ()
