"""In which precision a store was encoded is recorded, and tiles of another are not mixed in."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from zarr.storage import MemoryStore

from napari_sam.cli import main
from napari_sam.scene import Scene, open_scene
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.encoding import encode
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo, State, StoreMismatch
from src_model import Sam
from src_model.loading import multiplies_bfloat16
from src_model.openvino_backend import OpenVinoEncoder


@pytest.fixture
def scene() -> Scene:
    return open_scene(np.random.default_rng(4).integers(0, 256, (90, 100), dtype=np.uint8))


@pytest.fixture
def halved(tiny_sam: Sam) -> Sam:
    """The same network in bfloat16."""
    return copy.deepcopy(tiny_sam).set_precision(torch.bfloat16)


def make_store(scene: Scene, sam: Sam, where: Path | None = None) -> EmbeddingStore:
    geometry = TileGeometry(scene.shape, tile=64, halo=8)
    place = MemoryStore() if where is None else where
    return EmbeddingStore.create(place, SceneInfo.of(scene), ModelInfo.of(sam), geometry)


def test_a_store_is_not_continued_in_another_precision(
    scene: Scene, tiny_sam: Sam, halved: Sam
) -> None:
    for one, other, words in (
        (tiny_sam, halved, "encoded in float32, this model computes in bfloat16; load it with"),
        (halved, tiny_sam, "encoded in bfloat16, this model computes in float32; load it with"),
    ):
        store = make_store(scene, one)
        with pytest.raises(StoreMismatch, match=words):
            encode(scene, other, store)
        assert store.progress().done == 0
        encode(scene, one, store)
        assert store.progress().missing == 0


def test_prompts_are_answered_in_any_precision(scene: Scene, tiny_sam: Sam, halved: Sam) -> None:
    store = make_store(scene, tiny_sam)
    first, second = TileId(0, 0, 0), TileId(0, 0, 1)
    Embeddings(store, tiny_sam, scene).at(first)
    assert Embeddings(store, halved).at(first).tile == first
    with pytest.warns(RuntimeWarning, match="encoded in float32 and the model computes in bfloat1"):
        mixed = Embeddings(store, halved, scene)
    assert mixed.at(second).tile == second
    assert store.state(second) is State.MISSING
    Embeddings(store, tiny_sam, scene).at(second)
    assert store.state(second) is State.DONE


def test_openvino_is_told_by_its_numbers(tiny_sam: Sam) -> None:
    sam = copy.deepcopy(tiny_sam)
    sam.add_module("image_encoder", OpenVinoEncoder(sam.image_encoder, None))
    kind = "bfloat16" if multiplies_bfloat16(sam.device) else "float32"
    info = ModelInfo.of(sam)
    assert (info.precision, info.number_format) == (f"openvino {kind}", kind)


def test_the_command_goes_on_in_the_precision_of_the_store(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, store = tmp_path / "image.npy", str(tmp_path / "store")
    np.save(image, np.random.default_rng(4).integers(0, 256, (90, 100), dtype=np.uint8))
    encode = ["encode", str(image), "-o", store, "--model", str(tiny_weights), "--device", "cpu"]
    assert main([*encode, "--levels", "0", "--precision", "bfloat16"]) == 0
    assert main([*encode, "--resume"]) == 0
    opened = EmbeddingStore.open(store)
    assert (opened.progress().missing, opened.model.precision) == (0, "bfloat16")
    capsys.readouterr()
    assert main([*encode, "--resume", "--precision", "float32"]) == 2
    err = capsys.readouterr().err
    assert "load it with precision bfloat16 to go on" in err
    assert err.count("\n") == 1


def test_info_tells_it(
    scene: Scene, halved: Sam, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_store(scene, halved, tmp_path / "store")
    assert EmbeddingStore.open(tmp_path / "store").model.precision == "bfloat16"
    assert main(["info", str(tmp_path / "store")]) == 0
    assert "32 × 4 × 4, float16; encoded in bfloat16" in capsys.readouterr().out
