"""Objects of all planes as one label image: one number for a thing, and one row in the table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sessions import MODEL, square

from napari_sam.scene import Scene, open_scene
from napari_sam.session import Session
from napari_sam.sessions.volumes import labelled, lineage, time_labels, volume_labels
from napari_sam.tiles.regions import Region
from napari_sam.tiles.subjects import SceneInfo

SHAPE = (2, 3, 20, 24)
STACK = np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8)


def scene(t: int = 0, z: int = 0, axes: str = "TZYX", stack: np.ndarray = STACK) -> Scene:
    size = (0.5, 0.5, "micrometer")
    return open_scene(stack, axes=axes, t=t, z=z, pixel_size=size)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """A thing of three planes at time 0, one of both times, and an object of one plane."""
    infos = {(t, z): SceneInfo.of(scene(t, z)) for t in range(2) for z in range(3)}
    with Session.create(tmp_path / "cells", scene(z=1), model=MODEL) as made:
        made.add_object(square(2, 2), class_name="organ")
        made.propagate(1, {(0, 0): square(3, 3), (0, 2): square(4, 4, 2)}, infos)
        late = made.add_object(square(10, 10), 40)
        made.propagate(late, {(1, 1): square(10, 12)}, infos)
        made.add_object(square(15, 18, 3), 50)
        yield made


def expected(session: Session, t: int, z: int) -> np.ndarray:
    ids = session.labels(plane=(t, z))
    for number in session.ids:
        ids[ids == number] = session.info(number).track or number
    return ids


def test_a_thing_has_one_number_in_all_planes(session: Session) -> None:
    labels = volume_labels(session)
    assert (labels.shape, labels.dtype) == (SHAPE[1:], np.uint32)
    for z in range(3):
        np.testing.assert_array_equal(labels[z], expected(session, 0, z))
    assert set(np.unique(np.asarray(labels))) == {0, 1, 40, 50}
    np.testing.assert_array_equal(labels[1:, 3:9:2, -5], np.asarray(labels)[1:, 3:9:2, -5])
    through = time_labels(session, z=1)
    np.testing.assert_array_equal(through[1], expected(session, 1, 1))
    assert volume_labels(session, t=1)[1].any()
    session.delete(40)
    assert 40 in labels[1]  # they are as they were


def test_only_the_planes_that_are_read_are_painted(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam.sessions import volumes

    painted: list[Any] = []
    paint = volumes.paint
    monkeypatch.setattr(volumes, "paint", lambda *given: (painted.append(given), paint(*given))[1])
    labels = volume_labels(session)
    assert painted == []
    labels[1, 4:6, 5]
    assert [region for _, region, _ in painted] == [Region(4, 5, 6, 6)]


def test_the_table_is_about_things(session: Session) -> None:
    found = labelled(session)
    assert (found.axes, found.labels.shape) == ("TZYX", SHAPE)
    organ, cell, single = found.table
    assert (organ["id"], organ["class"], organ["planes"], organ["volume_px"]) == (1, "organ", 3, 36)
    assert (organ["z0"], organ["z1"], organ["fixed_planes"]) == (0, 2, 1)
    assert organ["source"] == "drawn+propagated"
    assert "volume_mm3" not in organ  # nothing tells the depth of this stack
    assert (cell["id"], cell["mean_area_px"], cell["t1"]) == (40, 16, 1)
    assert (single["id"], single["planes"]) == (50, 1)
    assert found.provenance["model_hash"] == MODEL.hash
    np.testing.assert_array_equal(
        found.plane(Region(0, 0, 20, 24), t=1, z=1), expected(session, 1, 1)
    )


def test_volumes_are_in_cubic_millimetres_where_the_scale_is_known(tmp_path: Path) -> None:
    image = open_scene(STACK[0], axes="ZYX", pixel_size=(50.0, 100.0, "micrometer"))
    with Session.create(tmp_path / "cells", replace(image, depth=2000.0)) as session:
        session.add_object(square(2, 2))
        (row,) = labelled(session).table
    assert row["volume_mm3"] == pytest.approx(16 * 0.05 * 0.1 * 2)


def test_one_plane_is_a_label_image_as_ever(tmp_path: Path) -> None:
    image = scene(axes="YX", stack=STACK[0, 0])
    with Session.create(tmp_path / "cells", image) as session:
        session.add_object(square(2, 2), class_name="cell")
        found = labelled(session)
    assert (found.axes, found.table[0]["area_px"], found.table[0]["class"]) == ("YX", 16, "cell")


def test_a_whole_stack_is_saved(session: Session, tmp_path: Path) -> None:
    session.save_labels(tmp_path / "labels.tif", plane="all")
    read = open_scene(tmp_path / "labels.tif", t=1, z=1)
    written = read.read(0, slice(None), slice(None))[..., 0]
    np.testing.assert_array_equal(written, expected(session, 1, 1))


def test_lineage_is_as_trackers_have_it(session: Session) -> None:
    session.set_parent(50, 40)
    np.testing.assert_array_equal(lineage(session), [[1, 0, 0, 0], [40, 0, 1, 0], [50, 0, 0, 40]])
