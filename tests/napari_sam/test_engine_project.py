"""A project's folder, and the choice of regions: nothing is lost, nothing is chosen twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from engine_projects import annotate, labels_of, made_images, made_project
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.cli import main
from napari_sam.engine.choosing import blocks_of, choose_regions
from napari_sam.engine.importing import import_round
from napari_sam.engine.looking import in_region, roi_of, some_tiles
from napari_sam.engine.project import Project, find_images
from napari_sam.engine.proposing import propose
from napari_sam.engine.saved import FORMAT_VERSION
from napari_sam.errors import InputError
from napari_sam.tiles.geometry import TileGeometry
from napari_sam.tiles.regions import Region
from napari_sam.tiles.roi import tiles_in


@pytest.fixture
def model(tiny_weights: Path) -> str:
    return str(tiny_weights)


def test_a_project_is_found_again_also_where_it_was_moved_to(tmp_path: Path, model: str) -> None:
    first = made_project(tmp_path / "here", model)
    again = Project.create(first.folder, made_images(tmp_path / "here" / "images", 3), model)
    assert [image.number for image in again.images] == [1, 2, 3]
    assert again.images[:2] == first.images
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = Project.open(tmp_path / "there" / "discs")
    assert [image.key for image in moved.images] == ["cells0", "cells1", "cells2"]
    assert all(Path(image.where).exists() for image in moved.images)
    assert moved.rounds == []
    assert moved.model == model


def test_the_command_begins_a_project_and_adds_images(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images, folder = made_images(tmp_path / "images", 2), tmp_path / "p"
    assert main(["engine", "init", str(folder), "--images", images[0], "--base", model]) == 0
    assert main(["engine", "init", str(folder), "--images", str(tmp_path / "images")]) == 0
    assert "2 images, base" in capsys.readouterr().out
    assert [image.key for image in Project.open(folder).images] == ["cells0", "cells1"]
    assert main(["engine", "init", str(folder), "--images", images[0], "--base", "vit_none"]) == 2
    assert main(["engine", "status", str(folder)]) == 0
    assert "no rounds yet" in capsys.readouterr().out


def test_images_of_the_same_name_have_keys_of_their_own(tmp_path: Path, model: str) -> None:
    images = made_images(tmp_path / "a", 1) + made_images(tmp_path / "b", 1)
    project = Project.create(tmp_path / "p", images, model)
    assert [image.key for image in project.images] == ["cells0", "cells0-2"]
    assert find_images([str(tmp_path / "a"), "https://x/y.zarr"]) == [images[0], "https://x/y.zarr"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "damaged"),
        ("[]", "does not say its version"),
        ('{"format_version": 99}', f"reads version {FORMAT_VERSION}"),
        ('{"format_version": 1, "base": "vit_nano"}', "'images' is missing"),
    ],
)
def test_damage_is_told_in_a_sentence(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "project.json").write_text(content)
    with pytest.raises(InputError, match=said) as error:
        Project.open(tmp_path)
    assert "\n" not in str(error.value)


def test_what_cannot_be_a_project_is_refused(tmp_path: Path, model: str) -> None:
    project = made_project(tmp_path, model)
    with pytest.raises(InputError, match="is no project"):
        Project.open(tmp_path / "images")
    with pytest.raises(InputError, match="no project and not empty"):
        Project.create(tmp_path / "images", ["x.tif"], model)
    with pytest.raises(InputError, match="there is no such image"):
        Project.create(tmp_path / "new", ["x.tif"], model)
    with pytest.raises(InputError, match="is a project with the base"):
        Project.create(project.folder, [], "vit_b")
    with pytest.raises(InputError, match="holds no images"):
        find_images([str(tmp_path / "new")])
    (project.folder / "rounds" / "001").mkdir(parents=True)
    (project.folder / "rounds" / "001" / "proposed.json").write_text('{"format_version": 1}')
    with pytest.raises(InputError, match="is damaged"):
        _ = project.round(1).proposed


def test_two_commands_at_once(tmp_path: Path, model: str) -> None:
    project = made_project(tmp_path, model)
    with FileLock(project.folder / "lock"), pytest.raises(InputError, match="Another command"):
        propose(project)


def test_regions_come_with_reasons_and_not_a_second_time(
    tmp_path: Path, model: str, sees: object, capsys: pytest.CaptureFixture[str]
) -> None:
    sees(np.pad(labels_of(0), 64)[64:-64, 64:-64], encoded=True)  # type: ignore[operator]
    project = made_project(tmp_path, model)
    current, proposed = propose(project, 3, side=64)
    assert current.number == 1
    assert proposed.looked_at == 2 * 6
    assert len({(one.image, one.region) for one in proposed.regions}) == 3
    found = [one for one in proposed.regions if one.objects]
    assert found
    assert all("candidate" in one.reason and one.doubt == pytest.approx(0.19) for one in found)
    assert proposed.regions[1].distance is not None
    again = propose(project, 3, side=64)
    assert (again[0].number, again[1]) == (1, proposed)  # nothing was imported: the same round
    annotate(project, 0)
    annotate(project, 1)
    import_round(project, finished="regions")
    later, others = propose(project, 99, side=64)
    assert later.number == 2
    before = {(one.image, one.region) for one in proposed.regions}
    assert not before & {(one.image, one.region) for one in others.regions}
    assert len(others.regions) == 9
    import_round(project, finished="images")
    with pytest.raises(InputError, match="Nothing is left to propose"):
        propose(project, 1, side=64)
    assert main(["engine", "propose", str(project.folder), "-n", "2"]) == 2
    assert "Nothing is left" in capsys.readouterr().err


def test_stopped_it_proposes_nothing_and_goes_on_later(tmp_path: Path, model: str) -> None:
    project = made_project(tmp_path, model, images=1)
    with pytest.raises(InputError, match="Stopped"):
        propose(project, should_stop=lambda: True)
    assert project.rounds == []
    assert len(propose(project)[1].regions) == 6


def test_files_of_a_round_that_is_half_written_do_not_count(tmp_path: Path, model: str) -> None:
    project = made_project(tmp_path, model, images=1)
    propose(project)
    folder = project.round(1).folder
    (folder / ".proposed.json.abcd.part").write_text("{")
    assert json.loads((folder / "proposed.json").read_text())["format_version"] == FORMAT_VERSION
    assert project.round(1).proposed is not None


look = st.lists(st.floats(-5, 5), min_size=3, max_size=3)
looks = st.lists(st.tuples(st.floats(0, 1) | st.just(float("nan")), look), min_size=1, max_size=12)


@given(looks, st.lists(look, max_size=4), st.data())
def test_choices_are_different_and_their_scores_are_shares(
    regions: list[tuple[float, list[float]]], known: list[list[float]], data: st.DataObject
) -> None:
    doubts, vectors = [one for one, _ in regions], [one for _, one in regions]
    count = data.draw(st.integers(1, 14))
    chosen = choose_regions(doubts, vectors, np.array(known).reshape(-1, 3), count)
    assert len({one.index for one in chosen}) == min(count, len(regions)) == len(chosen)
    assert all(0 <= one.score <= 1 + 1e-9 and 0 <= one.doubt_share <= 1 for one in chosen)
    fewer = choose_regions(doubts, vectors, np.array(known).reshape(-1, 3), 1)
    assert chosen[: len(fewer)] == fewer


def test_the_farthest_comes_before_its_neighbours_and_the_doubtful_before_the_sure() -> None:
    looks = np.array([[0.0], [0.01], [10.0]])
    assert choose_regions([0.5] * 3, looks, looks[:1], 3)[0].index == 2
    assert choose_regions([0.1, 0.9, 0.1], np.zeros((3, 1)), looks[:1], 1)[0].index == 1


@settings(max_examples=40)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
def test_blocks_hold_every_pixel_once(rows: int, cols: int, side: int) -> None:
    painted = np.zeros((rows, cols), int)
    for block in blocks_of((rows, cols), side):
        painted[block.rows, block.cols] += 1
        assert max(block.shape) <= side
    assert (painted == 1).all()


@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 9), st.integers(0, 99))
def test_tiles_of_a_large_scene_are_those_that_were_chosen(
    rows: int, cols: int, most: int, seed: int
) -> None:
    geometry = TileGeometry((rows, cols), tile=64, halo=8)
    chosen = some_tiles(geometry, most, seed)
    assert chosen.sum() == min(most, chosen.size)
    np.testing.assert_array_equal(tiles_in(geometry, 0, roi_of(geometry, chosen)), chosen)


def test_places_in_a_region() -> None:
    region = Region(10, 20, 30, 40)
    places = np.array([[9.5, 19.5], [9.4, 25], [29.4, 39.4], [29.5, 39.4]])
    assert in_region(places, region).tolist() == [True, False, True, False]
