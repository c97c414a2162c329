"""What is learned from, without a window: sources, finished regions, what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everything_scenes import discs, pixels_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_sam.errors import InputError
from napari_sam.live.figures import curve_of, ticks
from napari_sam.live.finished import finished_path, read_finished, write_finished
from napari_sam.live.teaching import (
    Prepared,
    blocks_on_map,
    described,
    from_folders,
    from_own_objects,
    from_session_folder,
    health_said,
    opened_again,
    prepare,
    worth_a_look,
)
from napari_sam.live.unlabelled import unlabelled_squares, write_unlabelled
from napari_sam.scene import open_scene
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session
from napari_sam.tiles.regions import Region

LABELS = discs((256, 320), (6, 10), 30)
TRIANGLE = np.array([[0.0, 0.0], [0.0, 200.0], [200.0, 0.0]])


def session_of(image: Path) -> Session:
    """Make the session of an image, where the plugin makes it."""
    Image.fromarray(pixels_of(LABELS)).save(image)
    folder = image.with_name(f"{image.name}.napari-sam")
    folder.mkdir()
    session = Session.create(folder / "session", open_scene(image))
    session.import_labels(LABELS, class_name="disc")
    return session


def prepared(wanted: Any, folder: Path) -> Prepared:
    made = prepare([wanted], folder, "vit_nano", lambda told: None, lambda: False)
    assert made is not None
    return made


def test_a_dataset_of_a_session_is_described_and_found_again(tmp_path: Path) -> None:
    told: list[object] = []
    with session_of(tmp_path / "discs.png") as session:
        session.add_object(MaskRegion(200, 10, np.ones((2, 3), bool)))
        wanted = from_own_objects(session, {(0, 0): [TRIANGLE]})
        made = prepare([wanted], tmp_path / "t", "vit_nano", told.append, lambda: False)
        assert made is not None
        blocks = blocks_on_map(made.dataset, session)
    assert told[-1] == (len(made.dataset.crops), len(made.dataset.crops))
    assert len(blocks) == len(made.dataset.crops)
    away = [block.region for block in blocks if block.part != "train"]
    learned = [block.region for block in blocks if block.part == "train"]
    assert not any((one & other).area for one in away for other in learned)
    assert described(made.dataset).startswith("dataset-001: 3")
    assert "disc (" in health_said(made.health)
    odd = [one for one in worth_a_look(made.health) if one.id == 31]
    assert len(odd) == 1
    assert "6 pixels" in odd[0].why
    again = opened_again(tmp_path / "t", "vit_nano")
    assert again is not None
    assert again.dataset.version == made.dataset.version
    # The next one has a name of its own; one that is cut short is no dataset.
    assert prepare([wanted], tmp_path / "t", "vit_nano", told.append, lambda: True) is None
    (tmp_path / "t" / "dataset-007").mkdir()
    found = opened_again(tmp_path / "t", "vit_nano")
    assert found is not None
    assert found.dataset.path.name == "dataset-001"


def test_the_objects_of_another_image_and_folders(tmp_path: Path) -> None:
    with session_of(tmp_path / "discs.png") as session:
        write_finished(session.path, {(0, 0): [TRIANGLE]})
        folder = tmp_path / "discs.png.napari-sam"
        wanted = from_session_folder(folder)
        assert wanted.name == "The objects of discs.png"
        with pytest.raises(InputError, match="open"):
            prepared(wanted, tmp_path / "t")  # it is open here
    made = prepared(wanted, tmp_path / "t")
    assert made.dataset.sources[0]["finished"] == [TRIANGLE.tolist()]
    with Session.open(folder / "session", open_scene(tmp_path / "discs.png")) as session:
        assert len(session.ids) == 30  # it was closed again
    with pytest.raises(InputError, match="holds no session"):
        from_session_folder(tmp_path)
    images, labels = made.dataset.paths("train")
    assert from_folders(images, labels).name.endswith("pictures in images")
    with pytest.raises(InputError):
        from_folders(images)


def test_finished_regions_that_cannot_be_read(tmp_path: Path) -> None:
    session = tmp_path / "session"
    assert read_finished(session) == {}
    write_finished(session, {(1, 2): [TRIANGLE]})
    np.testing.assert_array_equal(read_finished(session)[1, 2][0], TRIANGLE)
    for text, said in (("{", "cannot be read"), ('{"format_version": 9}', "later version")):
        finished_path(session).write_text(text)
        with pytest.raises(InputError, match=said):
            read_finished(session)
    with pytest.raises(InputError, match="cannot be written"):
        write_finished(tmp_path / "nowhere" / "session", {(0, 0): [TRIANGLE]})


@given(
    st.tuples(st.integers(1, 900), st.integers(1, 900)),
    st.lists(st.tuples(*[st.integers(0, 900)] * 4), max_size=4),
)
def test_unlabelled_parts_never_show_what_is_held_out(
    shape: tuple[int, int], corners: list[tuple[int, int, int, int]]
) -> None:
    away = [Region(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners]
    squares = unlabelled_squares(shape, away, side=256)
    assert all(one in Region(0, 0, *shape) and one.area for one in squares)
    assert not any((one & other).area for one in squares for other in away)
    assert squares or away


def test_unlabelled_parts_are_written(tmp_path: Path) -> None:
    with session_of(tmp_path / "discs.png") as session:
        made = prepared(from_own_objects(session, {}), tmp_path / "t")
        blocks = blocks_on_map(made.dataset, session)
        folder = tmp_path / "unlabelled"
        for _ in range(2):  # what was there is replaced
            written = write_unlabelled(
                session.scene, blocks, folder, lambda told: None, lambda: False
            )
        assert written == folder
        assert list(folder.glob("*.png"))
        assert write_unlabelled(session.scene, (), folder, lambda told: None, lambda: True) is None
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot be written"):
            write_unlabelled(
                session.scene, (), tmp_path / "file" / "x", lambda told: None, lambda: False
            )


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_marks_reach_around_what_is_drawn(low: float, size: float) -> None:
    marks = ticks(low, low + size)
    slack = 1e-6 * max(1.0, abs(low), size)
    assert marks[0] <= low + slack
    assert marks[-1] >= low + size - slack
    assert 2 <= len(marks) <= 8
    steps = np.diff(marks)
    assert (steps > 0).all()
    np.testing.assert_allclose(steps, steps[0], rtol=1e-3)


def test_curves_of_rows_that_differ() -> None:
    rows = [{"step": 0, "iou": 0.5}, {"step": 5, "other": 1.0}, {"step": 9, "iou": float("nan")}]
    curve = curve_of(rows, "iou", "IoU", marked=True)
    assert curve is not None
    assert curve.values == (0.5,)
    assert curve_of(rows, "loss", "loss") is None
    many = curve_of([{"step": n, "loss": float(n % 2)} for n in range(5000)], "loss", "loss")
    assert many is not None
    assert len(many.steps) == 400
