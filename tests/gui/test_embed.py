"""Embed: what is encoded is shown, asked for, halted, tried again, in a real window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import Qt

from napari_sam.live import embed_core, embed_words
from napari_sam.live.embedder import Embedder
from napari_sam.live.tile_picture import EDGE, picture_shape, tile_picture
from napari_sam.tiles import frames, pipeline
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.regions import Region
from napari_sam.tiles.store import State
from napari_sam.widgets.attached import attach
from napari_sam.widgets.embed import EmbedWidget
from src_model.weight_files import save_checkpoint

PIXELS = np.random.default_rng(3).integers(0, 255, (190, 260), dtype=np.uint8)
PATIENT = 30_000


@pytest.fixture
def viewer(
    make_napari_viewer: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    # The same pixels would find the embeddings of the test before.
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path))
    viewer = make_napari_viewer()
    viewer.add_image(PIXELS, name="cells", scale=(0.5, 0.5), translate=(3, 7), rotate=20)
    yield viewer
    attach(viewer).close()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a network of tiles of 64 pixels."""
    import torch

    from src_model import Variant, build_sam

    torch.manual_seed(0)
    sam = build_sam(
        Variant(
            image_size=64,
            depth=2,
            embed_dim=32,
            num_heads=2,
            out_chans=32,
            global_attn_indexes=(1,),
        )
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_checkpoint(sam, path)
    return str(path)


@pytest.fixture
def widget(viewer: Any, weights: str, qtbot: Any) -> EmbedWidget:
    """The widget of an image that is open, with nothing encoded yet."""
    widget = EmbedWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Embed")
    viewer.window._qt_window.show()
    attachment = widget.attachment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Embedder, "start", lambda self: None)
        attachment.use(model=weights)
        attachment.ready(60)
    widget.look()
    return widget


def press(qtbot: Any, button: Any) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_without_an_image_it_offers_to_start(viewer: Any, qtbot: Any, weights: str) -> None:
    widget = EmbedWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Embed")
    viewer.window._qt_window.show()
    assert widget.open.isVisible()
    assert not widget.now.isVisible()
    viewer.layers.clear()
    said: list[tuple[str, str]] = []
    widget.attachment.said.connect(lambda *told: said.append(told))
    press(qtbot, widget.open)
    assert said == [("warning", "There is no image: open one first.")]


def test_all_is_embedded_and_told(widget: EmbedWidget, qtbot: Any) -> None:
    embedder = widget.attachment.embedder
    assert embedder is not None
    total = embedder.status.counts.total
    assert (embedder.status.doing, widget.pause.text()) == ("stopped", "Go on")
    press(qtbot, widget.pause)
    assert widget.pause.text() == "Pause"
    press(qtbot, widget.pause)
    assert embedder.status.doing == "paused"
    press(qtbot, widget.stop)
    assert embedder.status.doing == "stopped"
    assert not widget.stop.isEnabled()
    press(qtbot, widget.all)
    qtbot.waitUntil(lambda: widget.said.text() == "All tiles are encoded.", timeout=PATIENT)
    assert (widget.bar.value(), widget.bar.maximum()) == (total, total)
    qtbot.waitUntil(lambda: "are free" in widget.disk.text(), timeout=PATIENT)
    assert "Objects and embeddings are kept in" in widget.notes.text()
    assert not widget.all.isEnabled()
    assert not widget.trouble.isVisible()


def test_a_part_and_then_much(
    widget: EmbedWidget, viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, image = widget.attachment.embedder, widget.attachment.image_layer
    assert embedder is not None
    assert image is not None
    corners = np.array([[5.0, 5.0], [5.0, 30.0], [30.0, 30.0], [30.0, 5.0]])
    world = [image.data_to_world(corner) for corner in corners]
    viewer.add_shapes([np.array(world)], shape_type="polygon", name="part")
    widget.region.offer()
    widget.region.setCurrentIndex(widget.region.findText("The shape in part"))
    widget.levels.setCurrentIndex(1)
    assert "Level 0" in widget.levels.currentText()
    # Nothing of what is in view: only what was asked for.
    embedder.look_at(Region(0, 0, 0, 0))
    monkeypatch.setattr(embed_core, "QUIETLY", 0)
    press(qtbot, widget.these)
    qtbot.waitUntil(lambda: embedder.status.counts.done > 0, timeout=PATIENT)
    qtbot.waitUntil(lambda: embedder.status.doing == "waiting", timeout=PATIENT)
    assert list(embedder.store.tiles(0, State.DONE)) == [TileId(0, 0, 0)]
    assert embedder.status.counts.done == 1
    press(qtbot, widget.stop)

    # What takes long or fills the disk is asked about.
    monkeypatch.setattr(embed_words, "_LARGE", 10)
    press(qtbot, widget.all)
    qtbot.waitUntil(widget.ask.isVisible, timeout=PATIENT)
    assert "Encoding 32 tiles takes about" in widget.question.text()
    assert "are free" in widget.question.text()
    assert embedder.status.doing == "stopped"
    press(qtbot, widget.no)
    assert not widget.ask.isVisible()
    press(qtbot, widget.view)
    qtbot.waitUntil(widget.ask.isVisible, timeout=PATIENT)
    press(qtbot, widget.yes)
    qtbot.waitUntil(lambda: embedder.status.counts.missing == 0, timeout=PATIENT)


def test_what_goes_wrong_is_told_and_tried_again(
    widget: EmbedWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, broken = widget.attachment.embedder, [True]
    assert embedder is not None

    def full(*given: Any) -> Any:
        raise MemoryError

    said: list[tuple[str, str]] = []
    widget.attachment.said.connect(lambda *told: said.append(told))
    monkeypatch.setattr(pipeline, "embed", full)
    press(qtbot, widget.pause)
    qtbot.waitUntil(lambda: any(level == "warning" for level, _ in said), timeout=PATIENT)
    assert "needs more memory than there is" in widget.said.text()
    assert embedder.status.counts.failed == 0
    monkeypatch.setattr(pipeline, "embed", frames.embed)

    def reading(scene: Any, geometry: TileGeometry, tile: TileId, size: int) -> Any:
        if broken and tile == TileId(0, 1, 1):
            raise OSError("the network is away")
        return frames.read_frame(scene, geometry, tile, size)

    monkeypatch.setattr(pipeline, "read_frame", reading)
    press(qtbot, widget.all)
    qtbot.waitUntil(widget.trouble.isVisible, timeout=PATIENT)
    assert widget.failed.item(0).text() == "tile 1, 1 of level 0: the network is away"
    widget.failed.itemDoubleClicked.emit(widget.failed.item(0))
    core = embedder.store.geometry.core(TileId(0, 1, 1))
    assert core in widget.attachment.viewport()
    broken.clear()
    press(qtbot, widget.again)
    qtbot.waitUntil(lambda: not widget.trouble.isVisible(), timeout=PATIENT)
    qtbot.waitUntil(lambda: widget.said.text() == "All tiles are encoded.", timeout=PATIENT)


def test_tiles_lie_where_they_are_in_the_image(
    widget: EmbedWidget, viewer: Any, qtbot: Any
) -> None:
    attachment = widget.attachment
    embedder, image = attachment.embedder, attachment.image_layer
    assert embedder is not None
    assert image is not None
    active = viewer.layers.selection.active
    embedder.store.mark_failed(TileId(0, 2, 1), "no reason")
    embedder._watch.refresh()
    widget.shown.setChecked(False)
    assert "tiles of cells" not in viewer.layers
    widget.shown.setChecked(True)
    tiles = viewer.layers["tiles of cells"]
    assert viewer.layers.selection.active is active
    core = embedder.store.geometry.core(TileId(0, 2, 1))
    for _ in range(2):
        for row, col, inside in (
            (core.row0, core.col0, True),
            (core.row1 - 1, core.col1 - 1, True),
            (core.row0 - 1, core.col0, False),
            (core.row1, core.col1 - 1, False),
        ):
            value = tiles.get_value(image.data_to_world((row, col)), world=True)
            assert (int(value) & ~EDGE == State.FAILED + 1) == inside
        image.translate = (40, -9)
        image.rotate = -5
        widget.look()
    viewer.layers.remove(tiles)
    widget.look()
    assert not widget.shown.isChecked()
    widget.shown.setChecked(True)
    assert "tiles of cells" in viewer.layers
    viewer.layers.remove(image)
    qtbot.waitUntil(widget.open.isVisible, timeout=PATIENT)
    assert "tiles of cells" not in viewer.layers


@given(
    st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    st.integers(0, 3),
    st.integers(0, 10**6),
)
def test_a_picture_shows_each_core(shape: tuple[int, int], level: int, seed: int) -> None:
    geometry = TileGeometry(shape, tile=128, halo=16)
    level = min(level, geometry.levels - 1)
    random = np.random.default_rng(seed)
    states = random.integers(0, 5, geometry.grid(level), dtype=np.uint8)
    picture = tile_picture(geometry, level, states)
    assert picture.shape == picture_shape(geometry)
    scale = np.array(shape) / picture.shape
    tile = TileId(level, *(int(random.integers(0, size)) for size in states.shape))
    core = geometry.core(tile)
    middle = np.array([core.row0 + core.row1, core.col0 + core.col1]) / 2 * (1 << level)
    row, col = np.minimum((middle / scale).astype(int), np.array(picture.shape) - 1)
    if min(core.shape) << level >= 4 * scale.max():  # larger than what rounding moves
        assert int(picture[row, col]) & ~EDGE == states[tile.row, tile.col] + 1
