"""Models that differ only in the decoder share embeddings, and nothing that a decoder found."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from everything_scenes import THRESHOLDS, discs, make_store, perfect, scene_of
from zarr.storage import MemoryStore

from napari_sam.cli import main
from napari_sam.live.workplace import Picture, Workplace
from napari_sam.own_models import ModelCard, register
from napari_sam.scene import open_scene
from napari_sam.segment.everything import Everything, found_so_far, running, segment_everything
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.encoding import encode
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, State, StoreMismatch
from src_model import Sam, build_sam
from src_model.weight_files import encoder_hash, model_hash, save_checkpoint

PIXELS = np.random.default_rng(5).integers(0, 999, (90, 120), dtype=np.uint16)
LABELS = discs((120, 150), (6, 10), 8)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path / "data"))


def changed(sam: Sam, part: str) -> Sam:
    """Return a copy in which a part has other weights."""
    other = build_sam(sam.variant)
    other.load_state_dict(sam.state_dict())
    with torch.no_grad():
        for parameter in other.get_submodule(part).parameters():
            parameter.add_(0.05)
    return other


@pytest.fixture
def decoder(tiny_sam: Sam) -> Sam:
    return changed(tiny_sam, "mask_decoder")


@pytest.fixture
def encoder(tiny_sam: Sam) -> Sam:
    return changed(tiny_sam, "image_encoder")


@pytest.fixture
def files(tiny_sam: Sam, decoder: Sam, encoder: Sam, tmp_path: Path) -> dict[str, str]:
    """Files of three models; the one with another decoder is registered as cells-1."""
    paths = {}
    for name, sam in (("base", tiny_sam), ("decoder", decoder), ("encoder", encoder)):
        paths[name] = str(tmp_path / f"{name}.safetensors")
        save_checkpoint(sam, paths[name])
    register(Path(paths["decoder"]), "cells-1", ModelCard("base", model_hash(tiny_sam), "decoder"))
    return paths


def test_what_the_hash_of_an_encoder_depends_on(tiny_sam: Sam, decoder: Sam, encoder: Sam) -> None:
    assert encoder_hash(decoder) == encoder_hash(tiny_sam) != encoder_hash(encoder)
    assert model_hash(decoder) != model_hash(tiny_sam)
    assert encoder_hash(changed(tiny_sam, "prompt_encoder")) == encoder_hash(tiny_sam)
    for change in ({"pixel_mean": (1.0, 2.0, 3.0)}, {"pixel_std": (9.0, 9.0, 9.0)}):
        other = build_sam(dataclasses.replace(tiny_sam.variant, **change))
        other.load_state_dict(tiny_sam.state_dict())
        assert encoder_hash(other) != encoder_hash(tiny_sam)
    rounded = changed(tiny_sam, "mask_decoder").set_precision(torch.bfloat16)
    assert encoder_hash(rounded) == encoder_hash(tiny_sam)


def test_tiles_are_read_and_filled_in_by_another_decoder(
    tiny_sam: Sam, decoder: Sam, encoder: Sam
) -> None:
    scene = open_scene(PIXELS)
    store, own = make_store(scene, tiny_sam), make_store(scene, decoder)
    encode(scene, tiny_sam, store, levels=[0], roi=store.geometry.window(TileId(0, 0, 0)))
    there = store.read(TileId(0, 0, 0))
    left = store.progress().missing
    assert left > 0
    before = encode(scene, decoder, store)
    assert before.done == left
    encode(scene, decoder, own)
    for level in store.levels:
        for tile in store.geometry.tiles(level):
            np.testing.assert_array_equal(store.read(tile), own.read(tile))
    np.testing.assert_array_equal(store.read(TileId(0, 0, 0)), there)
    answers = []
    for sam in (tiny_sam, decoder):
        ready = Embeddings(store, sam, scene).at(TileId(0, 0, 0))
        answers.append(ready.predictor.predict(ready.to_xy([[30, 30]]), np.array([1]))[2])
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
    for use in (lambda: encode(scene, encoder, store), lambda: Embeddings(store, encoder, scene)):
        with pytest.raises(StoreMismatch, match="another model"):
            use()


def test_stores_of_earlier_versions_serve_their_own_model_alone(
    tiny_sam: Sam, decoder: Sam, tmp_path: Path
) -> None:
    scene = open_scene(PIXELS)
    make_store(scene, tiny_sam, tmp_path / "store")
    path = tmp_path / "store" / "zarr.json"
    saved = json.loads(path.read_text())
    about = saved["attributes"]["napari_sam_embedding_store"]
    assert about.pop("encoder_hash") == encoder_hash(tiny_sam)
    assert set(about["model"]) == {"hash", "variant", "precision"}  # an earlier version reads it
    path.write_text(json.dumps(saved))
    old = EmbeddingStore.open(tmp_path / "store")
    assert old.model.encoder_hash == ""
    old.check(model=ModelInfo.of(tiny_sam))
    with pytest.raises(StoreMismatch, match="another model"):
        old.check(model=ModelInfo.of(decoder))
    # One that does not know its encoder either is no reason to trust it.
    unknown = dataclasses.replace(ModelInfo.of(decoder), encoder_hash="")
    with pytest.raises(StoreMismatch, match="another model"):
        old.check(model=unknown)


def test_what_a_decoder_found_is_not_anothers(
    tiny_sam: Sam, decoder: Sam, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, clicked = scene_of(LABELS), []
    store = make_store(scene, tiny_sam)
    options: dict[str, Any] = {"sizes": (10, 25)}

    def seeing(labels: np.ndarray) -> None:
        click = perfect(labels)

        def counted(ready: Any, *given: Any) -> Any:
            clicked.append(ready.tile)
            return click(ready, *given)

        monkeypatch.setattr(running, "click_tile", counted)

    seeing(LABELS)
    first = segment_everything(scene, store, tiny_sam, thresholds=THRESHOLDS, **options)
    tiles = len(clicked)
    half = np.where(LABELS % 2 == 0, LABELS, 0)  # the other decoder finds less
    seeing(half)
    assert len(found_so_far(scene, store, decoder, **options).candidates) == 0
    second = segment_everything(scene, store, decoder, thresholds=THRESHOLDS, **options)
    assert (len(clicked), second.done) == (2 * tiles, tiles)
    assert len(second.objects) == len(np.unique(half)) - 1 < len(first.objects)
    # Each goes on with its own.
    for sam, objects in ((tiny_sam, first.objects), (decoder, second.objects)):
        again = segment_everything(scene, store, sam, thresholds=THRESHOLDS, **options)
        assert (again.done, len(again.objects)) == (0, len(objects))
    settings = second.everything.settings
    assert settings.model == model_hash(decoder)
    assert Everything.open(store, settings.key).settings == settings
    # What an earlier version left is that of the store's model.
    assert "model" not in json.loads(first.everything.settings.to_json())


def test_candidates_of_a_store_that_the_other_made(tiny_sam: Sam, decoder: Sam, sees: Any) -> None:
    clicked = sees(LABELS)
    scene = scene_of(LABELS)
    store = make_store(scene, decoder, MemoryStore())
    segment_everything(scene, store, decoder, sizes=(10, 25))
    tiles = len(clicked)
    segment_everything(scene, store, tiny_sam, sizes=(10, 25))
    assert len(clicked) == 2 * tiles


def test_a_workplace_goes_on_with_the_embeddings(
    files: dict[str, str], tiny_sam: Sam, decoder: Sam, tmp_path: Path
) -> None:
    image = tmp_path / "cells.tif"
    tifffile.imwrite(image, PIXELS)
    with Workplace.open(Picture(image), files["base"]) as workplace:
        session = workplace.session
        one = session.add_object(MaskRegion(5, 5, np.ones((9, 9), bool)))
        number = session.add_point(30, 30)
        asked = session.candidates(number)[0].predicted_iou
        place, done = workplace.store.place.name, workplace.store.progress().done
        assert done > 0
        workplace.use_model("cells-1")
        assert workplace.store.place.name == place
        assert workplace.store.progress().done == done
        said = "Embeddings of custom are used: cells-1 changed only the decoder."
        assert said in workplace.notes
        assert session.model is not None
        assert session.model.hash == model_hash(decoder)  # and not the store's
        assert session.candidates(number)[0].predicted_iou != asked
        accepted = session.accept(number)
        assert session.info(accepted).provenance.model == model_hash(decoder)
        workplace.use_model(files["encoder"])
        assert workplace.store.place.name != place
        assert session.ids == [one, accepted]
        folder = workplace.folder
    with Workplace.open(Picture(image), "cells-1") as workplace:
        assert (workplace.store.place.name, workplace.folder) == (place, folder)


def test_a_model_that_was_replaced_is_loaded_again(
    files: dict[str, str], decoder: Sam, tmp_path: Path
) -> None:
    image = tmp_path / "cells.tif"
    tifffile.imwrite(image, PIXELS)
    card = ModelCard("base", method="decoder")
    with Workplace.open(Picture(image), "cells-1") as workplace:
        before = workplace.sam
        workplace.use_model("cells-1")
        assert workplace.sam is before
        register(Path(files["base"]), "cells-1", card, replace=True)
        workplace.use_model("cells-1")
        assert model_hash(workplace.sam) != model_hash(decoder) == model_hash(before)
        assert workplace.session.model is not None
        assert workplace.session.model.hash == model_hash(workplace.sam)


def test_the_base_uses_what_the_fine_tuned_model_encoded(
    files: dict[str, str], tmp_path: Path
) -> None:
    image = tmp_path / "cells.tif"
    tifffile.imwrite(image, PIXELS)
    with Workplace.open(Picture(image), "cells-1") as workplace:
        place = workplace.store.place.name
    with Workplace.open(Picture(image), files["base"]) as workplace:
        assert workplace.store.place.name == place
        said = "Embeddings of cells-1 are used: base.safetensors has the same image encoder."
        assert said in workplace.notes


def test_commands_say_whose_embeddings_they_use(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, store = str(tmp_path / "cells.tif"), str(tmp_path / "cells.embeddings")
    tifffile.imwrite(image, PIXELS)
    assert main(["encode", image, "-o", store, "--model", files["base"], "--levels", "1"]) == 0
    capsys.readouterr()
    resumed = ["encode", image, "-o", store, "--resume", "--model"]
    assert main([*resumed, files["encoder"]]) == 2
    assert "another model" in capsys.readouterr().err
    assert main([*resumed, "cells-1"]) == 0
    printed = capsys.readouterr()
    assert printed.err == "Embeddings of custom are used: cells-1 changed only the decoder.\n"
    assert EmbeddingStore.open(store).progress().missing == 0
    assert EmbeddingStore.open(store).state(TileId(0, 0, 0)) is State.DONE
    assert main(["info", store]) == 0
    assert ": for custom, cells-1" in capsys.readouterr().out
    command = ["segment", image, "--everything", "--sizes", "8,40", "--store", store]
    assert main([*command, "--model", "cells-1", "-o", str(tmp_path / "out")]) == 0
    assert "changed only the decoder" in capsys.readouterr().err
