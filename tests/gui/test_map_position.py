"""The pointer's place on the map is in the status line, whichever way an image was opened."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from napari.layers import Labels

from napari_sam.files.geotiff import geotiff_tags
from napari_sam.scenes.georeference import Georeference, is_usable
from napari_sam.widgets.attached import attach
from napari_sam.widgets.map_position import position_said, show_map_position
from napari_sam.widgets.opening import image_layers
from napari_sam.widgets.pointer import world_position

PLACE = Georeference("EPSG:32617", (0.5, 0.0, 404_211.9, 0.0, -0.5, 3_285_142.9), "metre")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "map.tif"
    pixels = np.random.default_rng(1).integers(0, 255, (200, 300), dtype=np.uint8)
    tifffile.imwrite(path, pixels, extratags=geotiff_tags(PLACE), metadata=None)
    return path


def points_at(viewer: Any, layer: Any, row: float, col: float) -> str:
    """Move the pointer as napari does, and return what the status line says then."""
    viewer.mouse_over_canvas = True
    viewer.cursor.position = world_position(layer, row, col, viewer.dims.point, viewer.dims.units)
    status, _ = viewer._calc_status_from_cursor()
    viewer.status = status
    shown = viewer.status
    assert isinstance(shown, dict)
    return str(shown["coordinates"])


def waited(qtbot: Any, said: Callable[[], str], words: str) -> str:
    qtbot.waitUntil(lambda: words in said(), timeout=20_000)
    return said()


def test_a_layer_of_our_reader(
    make_napari_viewer: Callable[[], Any], image: Path, qtbot: Any
) -> None:
    pytest.importorskip("pyproj")
    viewer = make_napari_viewer()
    position = show_map_position(viewer)
    assert show_map_position(viewer) is position
    for data, options, _ in image_layers(image):
        layer = viewer.add_image(data, **options)
    assert layer.metadata["image_georeference"] == PLACE
    before = points_at(viewer, layer, 0, 0)
    assert "x 404212.15 y 3285142.65 m (EPSG:32617)" in before
    said = waited(qtbot, lambda: points_at(viewer, layer, 80, 100), "°")
    # What napari says itself stays in front; it is said once, however often it is set.
    assert said.startswith("[")
    assert said.count("EPSG") == 1
    found = re.search(r"x (\S+) y (\S+) m \(EPSG:32617\) · (\S+)° N, (\S+)° W", said)
    assert found is not None
    x, y, lat, lon = map(float, found.groups())
    assert (x, y) == (404_262.15, 3_285_102.65)
    assert (lat, lon) == (pytest.approx(29.6922, abs=1e-3), pytest.approx(81.9899, abs=1e-3))
    # The drawn layers over it tell the same place, and other pictures none.
    viewer.add_layer(Labels(np.zeros((200, 300), np.int32), scale=layer.scale, units=layer.units))
    assert "y 3285102.65" in points_at(viewer, layer, 80, 100)
    viewer.status = "A sentence."
    assert viewer.status == "A sentence."
    layer.data = np.zeros((200, 300), np.uint8)
    assert "EPSG" not in points_at(viewer, layer, 80, 100)


def test_the_image_that_is_worked_on(
    make_napari_viewer: Callable[[], Any], image: Path, qtbot: Any
) -> None:
    viewer = make_napari_viewer()
    attachment = attach(viewer)
    # As napari's own reader opens it, which knows nothing of maps.
    layer = viewer.add_image(tifffile.imread(image), metadata={"image_path": str(image)})
    assert "EPSG" not in points_at(viewer, layer, 80, 100)
    attachment.use(layer)
    attachment.ready(60)
    assert "x 404262.15 y 3285102.65 m" in points_at(viewer, layer, 80, 100)
    attachment.close()


@given(
    affine=st.tuples(
        *(st.floats(0.01, 100), st.floats(-1, 1), st.floats(-1e6, 1e6)),
        *(st.floats(-1, 1), st.floats(-100, -0.01), st.floats(-1e6, 1e6)),
    ).filter(is_usable),
    place=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)
def test_what_is_said_leads_back(affine: Any, place: tuple[float, float]) -> None:
    georeference = Georeference(None, affine, "metre")
    found = re.fullmatch(r"x (\S+) y (\S+) m", position_said(georeference, *place))
    assert found is not None
    xy = georeference.to_map([place])[0]
    step = min(np.hypot(affine[0], affine[3]), np.hypot(affine[1], affine[4]))
    assert np.abs(np.array(found.groups(), float) - xy).max() <= 0.1 * step + 1e-6


def test_names_and_units() -> None:
    wkt = Georeference('PROJCS["my grid",GEOGCS["..."]]', PLACE.affine, "US survey foot")
    assert position_said(wkt, 0, 0).endswith("ft (US) (my grid)")
    south = Georeference("EPSG:4326", (0.1, 0, 10, 0, -0.1, -30), "degree")
    assert position_said(south, 0, 0) == "30.05° S, 10.05° E (EPSG:4326)"
    lost = position_said(PLACE, 0, 0, lambda xy: np.full((1, 2), np.inf))
    assert lost == position_said(PLACE, 0, 0)
