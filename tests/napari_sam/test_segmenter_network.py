"""Whole objects as the network that is shipped finds them, and tiles as the store keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import skimage.data
from made_scenes import SHAPES, MadeScene
from zarr.storage import MemoryStore

from napari_sam.errors import InputError
from napari_sam.scene import Scene, open_scene
from napari_sam.segment.decoding import EmbeddingDecoder, TilePrompt
from napari_sam.segment.objects import Candidate
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.segment.seams import seam_score
from napari_sam.segment.segmenter import Segmenter
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo, State
from src_model import Sam, load_model

SIDE, SIZE = 4096, 1536
"""Of a scene, and of the object in it: one and a half tiles wide."""
ALONE = 1024 * SIZE // SIDE
"""Of the same object, where the whole scene is one tile."""


@pytest.fixture(scope="module")
def nano() -> Sam:
    return load_model("vit_nano", "cpu")


def make_store(scene: Scene, sam: Sam, geometry: TileGeometry) -> EmbeddingStore:
    return EmbeddingStore.create(MemoryStore(), SceneInfo.of(scene), ModelInfo.of(sam), geometry)


@pytest.fixture(scope="module")
def discs(nano: Sam) -> tuple[Segmenter, Segmenter]:
    """Return what prompts the disc, across tiles and alone: what one test encodes serves others."""
    scenes = MadeScene("disc", SIDE, SIZE), MadeScene("disc", 1024, ALONE)
    return made(scenes[0], nano), made(scenes[1], nano)


def made(scene: MadeScene, sam: Sam) -> Segmenter:
    opened = open_scene(scene.levels())
    return Segmenter(opened, make_store(opened, sam, TileGeometry(opened.shape)), sam)


def best(found: Sequence[Candidate], scene: MadeScene) -> float:
    return max(scene.iou(one.row, one.col, one.mask) for one in found)


@pytest.mark.parametrize("shape", SHAPES)
def test_objects_across_tiles_are_as_good_as_in_one(
    shape: str, nano: Sam, discs: tuple[Segmenter, Segmenter]
) -> None:
    large = MadeScene(shape, SIDE, SIZE)
    small = MadeScene(shape, 1024, ALONE)
    across, alone = discs if shape == "disc" else (made(large, nano), made(small, nano))
    found = across.prompt(box=large.box())
    assert best(found, large) > best(alone.prompt(box=small.box()), small) - 0.03
    assert len(found) == 1
    assert found[0].level > 0
    if len(found[0].tiles) > 1:  # one tile alone has no seams
        # A mask that crosses a few borders may be rough at one of them.
        assert seam_score(found[0], TileGeometry((SIDE, SIDE))) < 2
    if shape != "disc":
        return
    # Prompted again, with all it needs in the store, it is the same.
    again = across.prompt(box=large.box())[0]
    assert (again.row, again.col, again.tiles) == (found[0].row, found[0].col, found[0].tiles)
    np.testing.assert_array_equal(again.mask, found[0].mask)


def test_clicks_on_one_object_give_one_object(discs: tuple[Segmenter, Segmenter]) -> None:
    scene = MadeScene("disc", SIDE, SIZE)
    small = MadeScene("disc", 1024, ALONE)
    across, alone = discs
    for away in ((0.05, 0.0), (-0.2, 0.1)):
        click = [(SIDE - 1) / 2 + SIZE * step for step in away]
        same = [511.5 + ALONE * step for step in away]
        found = across.prompt(points=[click])
        assert len(found) == 3
        assert best(found, scene) > best(alone.prompt(points=[same]), small) - 0.03


def test_what_fits_into_a_tile_is_the_answer_of_that_tile(nano: Sam) -> None:
    scene = open_scene(skimage.data.coins())
    store = make_store(scene, nano, TileGeometry(scene.shape, tile=256, halo=32))
    segmenter, embeddings = Segmenter(scene, store, nano), Embeddings(store, nano, scene)
    for kind, prompt in {
        "box": {"box": [26, 14, 68, 57]},
        "points": {"points": [[47, 36], [47, 80]], "labels": [1, 0]},
        "box+points": {"box": [26, 14, 68, 57], "points": [[47, 36]]},
    }.items():
        (found,) = segmenter.prompt(**prompt)  # type: ignore[arg-type]
        assert (found.prompt, found.level, found.tiles) == (kind, 0, (TileId(0, 0, 0),))
        tile = embeddings.at(TileId(0, 0, 0))
        points, box = prompt.get("points"), prompt.get("box")
        logits, iou, _ = tile.predictor.predict(
            None if points is None else tile.to_xy(points),
            None if points is None else np.array(prompt.get("labels", [1] * len(points))),
            None if box is None else tile.to_box(box),
            multimask_output=False,
            return_logits=True,
        )
        region, mask = tile.place(logits[0] > 0)
        assert (found.row, found.col) == (region.row0, region.col0)
        np.testing.assert_array_equal(found.mask, mask)
        assert found.predicted_iou == pytest.approx(iou[0], abs=1e-5)
    # The single mask of a click comes first, with two of the three others.
    found = segmenter.prompt(points=[[47, 36]])[0]
    tile = embeddings.at(TileId(0, 0, 0))
    masks, _, _ = tile.predictor.predict(
        tile.to_xy([[47, 36]]), np.array([1]), multimask_output=False
    )
    region, mask = tile.place(masks[0])
    assert (found.row, found.col, found.prompt) == (region.row0, region.col0, "point")
    np.testing.assert_array_equal(found.mask, mask)


def test_a_region_of_a_labels_layer_or_a_candidate_is_a_prompt(nano: Sam) -> None:
    scene = open_scene(skimage.data.coins())
    store = make_store(scene, nano, TileGeometry(scene.shape, tile=256, halo=32))
    segmenter = Segmenter(scene, store, nano)
    rows, cols = np.ogrid[26:69, 14:58]
    coin = MaskRegion(26, 14, np.hypot(rows - 47, cols - 36) < 20)
    (found,) = segmenter.prompt(mask=coin)
    assert found.prompt == "mask"
    assert 0.6 < found.area / coin.mask.sum() < 1.5
    (again,) = segmenter.prompt(mask=found, points=[[47, 36]])
    assert 0.6 < again.area / coin.mask.sum() < 1.5
    (drawn,) = segmenter.prompt(scribble=[[40, 25], [47, 36], [52, 48]])
    assert drawn.prompt == "scribble"
    assert 0.5 < drawn.area / coin.mask.sum() < 2


@pytest.mark.parametrize("shape", [(1, 200), (200, 1), (30, 20), (64, 64), (65, 130)])
def test_any_scene_can_be_prompted(shape: tuple[int, int], tiny_sam: Sam) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    scene = open_scene(pixels, axes="YX")
    store = make_store(scene, tiny_sam, TileGeometry(shape, tile=64, halo=8))
    segmenter = Segmenter(scene, store, tiny_sam)
    row, col = shape[0] // 2, shape[1] // 2
    prompts: list[Any] = [
        {"points": [[row, col]]},
        {"points": [[0, 0], [shape[0] - 1, shape[1] - 1]]},
        {"mask": MaskRegion(row, col, np.ones((1, 1), bool))},
        {"scribble": [[0, 0], [row, col]]},
    ]
    for prompt in prompts:
        for one in segmenter.prompt(**prompt):
            assert 0 <= one.row <= one.row + one.mask.shape[0] <= shape[0]
            assert 0 <= one.col <= one.col + one.mask.shape[1] <= shape[1]
            assert one.mask.dtype == bool


def test_missing_tiles_are_encoded_and_empty_ones_left_out(tiny_sam: Sam) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 400, 3), dtype=np.uint8)
    pixels[:, :200] = 9
    scene = open_scene(pixels)
    store = make_store(scene, tiny_sam, TileGeometry(scene.shape, tile=64, halo=8))
    segmenter = Segmenter(scene, store, tiny_sam)
    segmenter.prompt(box=[10, 300, 40, 330])
    assert store.progress().done
    # At the finest level nothing is to be seen there; at a coarser one there is.
    for one in segmenter.prompt(points=[[30, 90]]):
        assert one.level > 0
    assert store.progress().empty
    blank = open_scene(np.full((60, 60), 7, np.uint8))
    blank_store = make_store(blank, tiny_sam, TileGeometry(blank.shape, tile=64, halo=8))
    with pytest.raises(InputError, match="Nothing is to be seen"):
        Segmenter(blank, blank_store, tiny_sam).prompt(points=[[3, 3]])
    assert blank_store.state(TileId(0, 0, 0)) is State.EMPTY


def test_tiles_asked_together_answer_as_alone(tiny_sam: Sam) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (100, 300, 3), dtype=np.uint8)
    scene = open_scene(pixels)
    store = make_store(scene, tiny_sam, TileGeometry(scene.shape, tile=64, halo=8))
    decoder = EmbeddingDecoder(Embeddings(store, tiny_sam, scene), tiny_sam)
    tiles = [TileId(0, 0, 0), TileId(0, 1, 2), TileId(1, 0, 1)]
    prompts = []
    for tile in tiles:
        window, scale = store.geometry.window(tile), 1 << tile.level
        corner = np.array([window.row0, window.col0]) * scale
        prompts.append(
            TilePrompt(
                corner + np.array([[9.0, 20.0], [30.0, 11.0]]),
                np.array([1, 0]),
                mask=np.zeros([len(side) for side in decoder.nodes(tile)], np.float32),
            )
        )
    together = decoder.decode(tiles, prompts, ambiguous=False)
    for tile, prompt, answer in zip(tiles, prompts, together, strict=True):
        (alone,) = decoder.decode([tile], [prompt], ambiguous=False)
        assert answer is not None
        assert alone is not None
        np.testing.assert_allclose(
            answer.grids[0].values, alone.grids[0].values, rtol=1e-3, atol=1e-3
        )
