"""An image is found again as it was left, whatever lies around it; what is in the way is told."""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from made_sessions import square

from napari_sam.commands import encode
from napari_sam.errors import InputError
from napari_sam.live import folders
from napari_sam.live.stores import made_store
from napari_sam.live.workplace import Picture, Workplace, folder_for
from napari_sam.scene import Normalisation, open_scene
from napari_sam.session import Session, SessionInUse
from napari_sam.sessions.journal import JournalFile
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.places import Place
from napari_sam.tiles.store import ModelInfo, SceneInfo, State, StoreUnusable
from src_model import Sam, build_sam
from src_model.weight_files import save_checkpoint

RNG = np.random.default_rng(2)
GREY = RNG.integers(100, 4000, (90, 120), dtype=np.uint16)
STACK = RNG.integers(100, 4000, (3, 90, 120), dtype=np.uint16)


@pytest.fixture
def model(tiny_weights: Path) -> str:
    return str(tiny_weights)


@pytest.fixture(scope="module")
def other_model(tiny_sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    save_checkpoint(build_sam(tiny_sam.variant), path)
    return str(path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "cells.tif"
    tifffile.imwrite(path, GREY)
    return path


@pytest.fixture(autouse=True)
def data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("NAPARI_SAM_DATA", str(folder))
    return folder


def _encoded(image: Path, where: Path, model: str) -> None:
    """Do what `napari-sam encode IMAGE -o STORE` does."""
    encode.run(
        str(image),
        str(where),
        model_name=model,
        levels=None,
        roi=None,
        halo=None,
        dtype=None,
        dry_run=False,
        resume=False,
        retry_failed=False,
        device="auto",
        precision="auto",
        scheduler=None,
    )


def _full(self: JournalFile, content: bytes) -> None:
    if content:
        raise OSError(errno.ENOSPC, "No space left on device")


def _one_sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_an_image_is_gone_on_with_where_it_was_left(image: Path, model: str) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        assert place.folder == image.with_name("cells.tif.napari-sam")
        place.session.add_point(40, 50)
        place.session.candidates()
        place.session.add_object(square(3, 3), class_name="cell")
        before = place.session.digest(), place.session.prompts, place.store.progress()
        assert place.session.model is not None
    with Workplace.open(Picture.of(image), model) as place:
        assert (place.session.digest(), place.session.prompts, place.store.progress()) == before
        assert any("goes on, with 1 object." in note for note in place.notes)
        assert any("Embeddings that were there are used" in note for note in place.notes)
        assert place.session.undo()
    assert len(list(place.folder.glob("*.embeddings"))) == 1


def test_results_of_an_array_are_found_by_its_pixels(model: str, data_folder: Path) -> None:
    with Workplace.open(Picture(GREY, name="first name"), model) as place:
        place.session.add_object(square(3, 3))
        assert place.folder.parent == data_folder
    with Workplace.open(Picture(GREY.copy(), name="second name"), model) as place:
        assert place.session.ids == [1]
    with Workplace.open(Picture(GREY[::-1], name="first name"), model) as place:
        assert place.session.ids == []


def test_a_folder_that_is_only_read_is_left_alone(
    image: Path, model: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *arguments: Any, **options: Any) -> None:
        if path.parent == image.parent:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        os.makedirs(path, exist_ok=True)

    monkeypatch.setattr(folders.Path, "mkdir", refuse)
    with Workplace.open(Picture.of(image), model) as place:
        assert place.folder.parent == data_folder
        assert any("cannot be written to" in note for note in place.notes)


def test_a_folder_without_permission_is_not_tried(
    image: Path, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders.os, "access", lambda path, mode: path != image.parent)
    assert folder_for(Picture.of(image)).parent == data_folder


def test_a_folder_that_cannot_be_made_is_told(image: Path, model: str) -> None:
    image.with_name("cells.tif.napari-sam").write_text("a file")
    with pytest.raises(InputError, match="cannot be made") as error:
        Workplace.open(Picture.of(image), model)
    _one_sentence(error)


def test_embeddings_that_encode_put_beside_the_image_are_used(image: Path, model: str) -> None:
    store = image.with_name("cells.embeddings")
    _encoded(image, store, model)
    with Workplace.open(Picture.of(image), model) as place:
        assert place.store.place.folder == store
        assert place.store.progress().missing == 0
        assert any(str(store) in note for note in place.notes)
        assert not list(place.folder.glob("*.embeddings"))


def test_the_stretch_of_a_store_is_that_of_the_scene(
    image: Path, model: str, tiny_sam: Sam
) -> None:
    """Or else nothing of what a cluster encoded over night would fit."""
    stretch = Normalisation("percentile", (0.0,), (5000.0,))
    scene = open_scene(image, normalisation=stretch)
    made_store(image.with_name("night.zarr"), scene, SceneInfo.of(scene), ModelInfo.of(tiny_sam))
    for _ in range(2):
        with Workplace.open(Picture.of(image), model) as place:
            assert place.store.place.folder == image.with_name("night.zarr")
            assert place.scene.normalisation == stretch


def test_embeddings_of_another_model_are_not_used_but_named(
    image: Path, model: str, other_model: str
) -> None:
    _encoded(image, image.with_name("cells.embeddings"), other_model)
    with Workplace.open(Picture.of(image), model) as place:
        assert place.store.progress().done == 0
        assert any("choose that model to use it" in note for note in place.notes)


@pytest.mark.parametrize(
    "document", ["{", "[]", '{"attributes": {"napari_sam_embedding_store": 5}}']
)
def test_what_is_no_store_beside_the_image_is_overlooked(
    image: Path, model: str, document: str
) -> None:
    beside = image.with_name("cells.zarr")
    beside.mkdir()
    (beside / "zarr.json").write_text(document)
    with Workplace.open(Picture.of(image), model) as place:
        assert place.store.place.folder != beside


def test_a_store_that_does_not_fit_stays_as_it_is(image: Path, model: str) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        (own,) = place.folder.glob("*.embeddings")
    shutil.rmtree(own)
    own.mkdir()
    (own / "mine.txt").write_text("not a store")
    with Workplace.open(Picture.of(image), model) as place:
        assert place.store.place.folder == own.with_name(f"{own.stem}-2.embeddings")
        assert any("left alone" in note for note in place.notes)
    assert (own / "mine.txt").read_text() == "not a store"


def test_other_pixels_under_the_same_name_get_a_session_of_their_own(
    image: Path, model: str
) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        place.session.add_object(square(3, 3))
    tifffile.imwrite(image, GREY[::-1])
    with Workplace.open(Picture.of(image), model) as place:
        assert place.session.ids == []
        assert place.session.path.name == "session-2"
        notes = [note for note in place.notes if "left alone" in note]
        assert len(notes) == 2  # the session and the embeddings
        assert all("other pixels" in note or "normalisation" in note for note in notes)
    tifffile.imwrite(image, GREY)
    with Workplace.open(Picture.of(image), model) as place:
        assert place.session.ids == [1]


def test_each_choice_of_channels_has_its_session(tmp_path: Path, model: str) -> None:
    pixels = np.stack([GREY, GREY.T[:90, :90].repeat(2, 1)[:, :120]])
    for channel in (0, 1, 0):
        picture = Picture(pixels, axes="CYX", channels=channel)
        with Workplace.open(picture, model, folder=tmp_path) as place:
            if not place.session.ids:
                place.session.add_object(square(3, 3), class_name=str(channel))
            (number,) = place.session.ids
            assert place.session.info(number).class_name == str(channel)
    with Workplace.open(Picture(pixels, axes="CYX"), model, folder=tmp_path) as place:
        assert place.scene.channels == ("0",)


def test_planes_have_embeddings_of_their_own_and_one_stretch(tmp_path: Path, model: str) -> None:
    picture = Picture(STACK, axes="ZYX")
    with Workplace.open(picture, model, folder=tmp_path, z=1) as place:
        stretch = place.scene.normalisation
        place.session.add_object(square(3, 3))
        place.go_to(0, 2)
        assert (place.scene.z, place.session.plane) == (2, (0, 2))
        assert place.scene.normalisation == stretch
        place.session.add_point(40, 50)
        assert place.session.candidates()
        place.session.add_object(square(30, 30))
    with Workplace.open(picture, model, folder=tmp_path, z=2) as place:
        assert place.session.plane == (0, 2)
        assert place.scene.normalisation == stretch
        assert place.session.ids == [1, 3]
    assert len(list(tmp_path.glob("*-z?.embeddings"))) == 2


def test_a_first_plane_without_anything_gives_no_stretch(tmp_path: Path, model: str) -> None:
    stack = STACK.copy()
    stack[0] = 7
    for _ in range(2):
        with Workplace.open(Picture(stack, axes="ZYX"), model, folder=tmp_path) as place:
            place.go_to(0, 1)
            assert place.scene.read_rgb(0, slice(None), slice(None)).std() > 10


def test_a_plane_that_is_not_there_changes_nothing(tmp_path: Path, model: str) -> None:
    with Workplace.open(Picture(STACK, axes="ZYX"), model, folder=tmp_path) as place:
        store = place.store
        with pytest.raises(InputError):
            place.go_to(0, 9)
        assert (place.scene.z, place.store) == (0, store)


def test_who_hears_of_another_plane_finds_it(tmp_path: Path, model: str) -> None:
    with Workplace.open(Picture(STACK, axes="ZYX"), model, folder=tmp_path) as place:
        seen: list[tuple[str, int, int]] = []
        place.session.on_change(
            lambda event: seen.append((event.kind, place.scene.z, place.store.scene.z))
        )
        place.go_to(0, 2)
        assert seen == [("plane", 2, 2), ("model", 2, 2)]
        place.session.close()
        with pytest.raises(InputError, match="is closed"):
            place.go_to(0, 1)
        assert place.scene.z == 2


def test_another_model_answers_and_is_recorded(image: Path, model: str, other_model: str) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        place.session.add_point(40, 50)
        place.session.candidates()
        place.session.accept(1)
        place.use_model(other_model)
        assert place.model_name == other_model
        place.session.add_point(20, 80)
        place.session.candidates()
        second = place.session.accept()
        made_by = [place.session.info(number).provenance.model for number in (1, second)]
        assert made_by[0] != made_by[1] == place.store.model.hash
        with pytest.raises(InputError, match="no_such") as error:
            place.use_model("no_such")
        _one_sentence(error)
        assert place.model_name == other_model
        place.use_model(model)
        assert place.store.model.hash == made_by[0]
        assert place.store.progress().done
    assert len(list(place.folder.glob("*.embeddings"))) == 2


def test_candidates_of_the_model_before_are_not_accepted(
    image: Path, model: str, other_model: str
) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        number = place.session.add_point(40, 50)
        place.session.candidates()
        place.use_model(other_model)
        with pytest.raises(InputError, match="There are no candidates"):
            place.session.choose(0)
        place.session.accept(number)
        assert place.session.info(number).provenance.model == place.store.model.hash


def test_the_second_to_open_is_told_who_is_there(image: Path, model: str) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        place.session.add_object(square(3, 3))
        with pytest.raises(SessionInUse, match=f"process {os.getpid()}") as error:
            Workplace.open(Picture.of(image), model)
        _one_sentence(error)
        place.session.add_object(square(30, 30))
    with Workplace.open(Picture.of(image), model) as place:
        assert place.session.ids == [1, 2]


def test_what_fails_on_the_way_leaves_the_session_free(
    image: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise StoreUnusable("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(Place, "create", full)
        with pytest.raises(StoreUnusable, match="full"):
            Workplace.open(Picture.of(image), model)
    Workplace.open(Picture.of(image), model).close()


def test_a_model_that_does_not_exist_leaves_nothing_behind(image: Path) -> None:
    with pytest.raises(InputError, match="no_such"):
        Workplace.open(Picture.of(image), "no_such")
    assert list(image.parent.iterdir()) == [image]


def test_a_session_that_cannot_be_read_is_not_overlooked(image: Path, model: str) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        place.session.add_object(square(3, 3))
    (place.session.path / "session.json").write_text("{")
    with pytest.raises(InputError, match=r"session\.json cannot be read") as error:
        Workplace.open(Picture.of(image), model)
    _one_sentence(error)


def test_a_store_that_is_deleted_is_told_and_begun_again(image: Path, model: str) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        session = place.session
        session.add_point(40, 50)
        session.candidates()
        session.accept(1)
        assert place.store.place.folder is not None
        shutil.rmtree(place.store.place.folder)
        session.add_point(80, 110)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            session.candidates()  # of a tile that is encoded now: it is only kept
        assert any("is no longer there" in str(one.message) for one in told)
        with pytest.raises(StoreUnusable, match="is no longer there") as error:
            place.store.mark_failed(TileId(0, 0, 0), "for a test")
        _one_sentence(error)
        place.use_model(place.model_name)
        session.candidates()
        assert (place.store.states(0) == State.DONE.value).any()
        assert session.ids == [1]


def test_a_full_disk_keeps_objects_in_memory(
    image: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Workplace.open(Picture.of(image), model)
    problems: list[str] = []
    place.session.on_change(lambda event: problems.append(event.text))
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(JournalFile, "_write", _full)
        place.session.add_object(square(3, 3))
        assert place.session.unsaved
        with pytest.raises(InputError, match="cannot be written") as error:
            place.close()
        _one_sentence(error)
    place.close()
    assert any("No space left" in problem for problem in problems)
    with Workplace.open(Picture.of(image), model) as place:
        assert place.session.ids == [1]


def test_closing_at_any_price_lets_others_in(
    image: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Workplace.open(Picture.of(image), model)
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(JournalFile, "_write", _full)
        place.session.add_object(square(3, 3))
        place.close(lose=True)
    with Workplace.open(Picture.of(image), model) as place:
        assert place.session.ids == []


def test_a_folder_that_is_deleted_takes_no_object_out_of_memory(image: Path, model: str) -> None:
    place = Workplace.open(Picture.of(image), model)
    shutil.rmtree(place.folder)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        place.session.add_object(square(3, 3))
    assert any("kept in memory only" in str(one.message) for one in told)
    labels = image.with_name("labels.tif")
    place.session.save_labels(labels)
    assert tifffile.imread(labels).max() == 1
    with pytest.raises(InputError, match="save the labels elsewhere"):
        place.close()
    place.close(lose=True)


def test_an_image_that_vanished_is_told_and_no_object_lost(image: Path, model: str) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        place.session.add_object(square(3, 3))
        image.rename(image.with_name("moved.tif"))
        with pytest.raises(InputError) as error:
            place.use_model(model)
        _one_sentence(error)
        assert place.session.ids == [1]
        place.session.add_object(square(30, 30))
    with pytest.raises(InputError, match=r"cells\.tif") as error:
        Workplace.open(Picture.of(image), model)
    _one_sentence(error)
    image.with_name("moved.tif").rename(image)
    with Workplace.open(Picture.of(image), model) as place:
        assert place.session.ids == [1, 2]


def test_what_was_repaired_is_among_the_notes(image: Path, model: str) -> None:
    with Workplace.open(Picture.of(image), model) as place:
        place.session.add_object(square(3, 3))
        path = place.session.path / "journal-000001"
    path.write_bytes(path.read_bytes() + b"half a line")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Workplace.open(Picture.of(image), model)
    with place:
        assert place.session.ids == [1]
        assert any("were cut off" in note for note in place.notes)


def test_a_session_of_a_script_is_gone_on_with(image: Path, model: str) -> None:
    """What was begun without the plugin, in the folder where that looks."""
    scene = Picture.of(image).open()
    folder = image.with_name("cells.tif.napari-sam")
    with Session.create(folder / "session", scene) as session:
        session.add_object(square(3, 3))
    with Workplace.open(Picture.of(image), model) as place:
        assert place.session.ids == [1]
        place.session.add_point(40, 50)
        assert place.session.candidates()
