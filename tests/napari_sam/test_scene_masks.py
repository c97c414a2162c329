"""What a TIFF's mask or alpha channel hides is no data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from zarr.storage import MemoryStore

from napari_sam.scene import Scene, open_scene
from napari_sam.tiles.encoding import encode
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.reopening import open_like
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo
from src_model import Sam

ALL = slice(None)
RNG = np.random.default_rng(5)
RGB = RNG.integers(1, 256, (200, 260, 3), dtype=np.uint8)
GREY = RNG.integers(1, 60_000, (200, 260), dtype=np.uint16)
VALID = np.ones((200, 260), bool)
VALID[:70, 60:] = False


def write_masked(
    path: Path, image: np.ndarray, mask: np.ndarray, steps: int = 1, **options: Any
) -> Path:
    """Write an image, its mask and coarser ones of both as GDAL does."""
    kind = "rgb" if image.ndim == 3 else "minisblack"
    tiled: dict[str, Any] = {"tile": (64, 64), "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        for number in range(steps):
            part = slice(None, None, 1 << number)
            coarse = int(number > 0)
            writer.write(
                image[part, part], photometric=kind, subfiletype=coarse, **tiled, **options
            )
            writer.write(mask[part, part], photometric=4, subfiletype=4 + coarse, **tiled)
    return path


def write_alpha(path: Path, image: np.ndarray, kind: str = "unassalpha") -> Path:
    alpha = np.where(VALID, 200, 0).astype(image.dtype)
    tifffile.imwrite(
        path,
        np.dstack([image, alpha]),
        photometric="rgb" if image.ndim == 3 else "minisblack",
        extrasamples=[kind],
        tile=(64, 64),
        planarconfig="contig",
        metadata=None,
    )
    return path


def assert_hides(scene: Scene, image: np.ndarray) -> None:
    assert scene.is_empty(0, slice(0, 70), slice(60, 260))
    assert not scene.is_empty(0, slice(0, 71), slice(60, 260))
    expected = np.where(VALID[..., None], np.atleast_3d(image), 0)
    read = np.nan_to_num(scene.read(0, ALL, ALL))
    np.testing.assert_array_equal(read, expected)
    assert not scene.read_rgb(0, slice(0, 70), slice(60, 260)).any()
    # Along the border coarse pixels are averages of what is valid alone.
    for level in (1, 2, 3):
        rgb = scene.read_rgb(level, slice(0, 64 >> level), slice(0, 60 >> level))
        assert rgb.min() > 0
        assert scene.is_empty(level, slice(0, 64 >> level), slice(64 >> level, 256 >> level))


@pytest.mark.parametrize(
    "image", [RGB, GREY, GREY.astype(np.float32)], ids=["rgb", "uint16", "float32"]
)
def test_an_internal_mask(tmp_path: Path, image: np.ndarray) -> None:
    scene = open_scene(write_masked(tmp_path / "masked.tif", image, VALID))
    assert scene.masked
    assert_hides(scene, image)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("image", [RGB, GREY], ids=["rgb", "uint16"])
def test_an_alpha_channel(tmp_path: Path, image: np.ndarray, kind: str) -> None:
    scene = open_scene(write_alpha(tmp_path / "alpha.tif", image, kind))
    assert scene.masked
    assert len(scene.channels) == np.atleast_3d(image).shape[2]
    assert_hides(scene, image)


def test_a_fourth_sample_that_is_no_alpha_hides_nothing(tmp_path: Path) -> None:
    scene = open_scene(write_alpha(tmp_path / "infrared.tif", RGB, "unspecified"))
    assert not scene.masked
    np.testing.assert_array_equal(scene.read(0, ALL, ALL), RGB)


def test_an_alpha_channel_can_be_looked_at_itself(tmp_path: Path) -> None:
    scene = open_scene(write_alpha(tmp_path / "alpha.tif", RGB), channels="alpha")
    assert not scene.masked
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], VALID * 200)


def test_masks_of_coarser_levels(tmp_path: Path) -> None:
    scene = open_scene(write_masked(tmp_path / "cog.tif", RGB, VALID, steps=3))
    assert [level.stored for level in scene.levels[:4]] == [True, True, True, False]
    np.testing.assert_array_equal(scene.read(2, ALL, ALL), (RGB * VALID[..., None])[::4, ::4])
    assert scene.is_empty(2, slice(0, 17), slice(16, 60))


def test_black_with_data_is_not_taken_for_none(tmp_path: Path) -> None:
    black = np.zeros_like(RGB)
    scene = open_scene(write_masked(tmp_path / "black.tif", black, VALID))
    read = scene.read(0, ALL, ALL)
    np.testing.assert_array_equal(read[..., 0], VALID)
    assert not read[..., 1:].any()
    signed = np.where(VALID, -32768, 7).astype(np.int16)
    scene = open_scene(write_masked(tmp_path / "signed.tif", signed, VALID))
    assert scene.nodata == -32768
    np.testing.assert_array_equal(scene.read(0, ALL, ALL)[..., 0], np.where(VALID, -32767, -32768))


def test_a_value_that_is_told_is_no_data_too(tmp_path: Path) -> None:
    image = GREY.copy()
    image[100:, :30] = 9
    tag = (42113, "s", 0, "9", True)
    path = write_masked(tmp_path / "both.tif", image, VALID, extratags=[tag])
    scene = open_scene(path)
    assert (scene.nodata, scene.masked) == (9, False)
    assert scene.is_empty(0, slice(0, 70), slice(60, 260))
    assert scene.is_empty(0, slice(100, 200), slice(0, 30))
    assert open_scene(path, nodata=4).is_empty(0, slice(0, 70), slice(60, 260))


def test_hidden_tiles_are_skipped_and_the_store_is_resumed(tmp_path: Path, tiny_sam: Sam) -> None:
    path = write_masked(tmp_path / "masked.tif", RGB, VALID)
    scene = open_scene(path)
    store = EmbeddingStore.create(
        MemoryStore(),
        SceneInfo.of(scene),
        ModelInfo.of(tiny_sam),
        TileGeometry(scene.shape, tile=64, halo=8),
    )
    encode(scene, tiny_sam, store, levels=[0])
    assert store.why_empty(TileId(0, 0, 2)) == "no data"
    assert store.progress().empty == 4
    again = open_like(store, str(path))
    assert (again.nodata, again.masked) == (0, True)
    encode(again, tiny_sam, store)
    assert store.progress().missing == 0
