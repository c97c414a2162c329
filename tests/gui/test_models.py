"""Models: listed, downloaded, used for the image that is open, in a real window."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_server import CheckpointServer
from qtpy.QtCore import Qt

from napari_sam.commands.models import model_rows
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.widgets.models import ModelsWidget
from src_model import Variant, build_sam, checkpoints
from src_model.weight_files import save_checkpoint

PATIENT = 30_000


def press(qtbot: Any, button: Any) -> None:
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def widget(
    make_napari_viewer: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.setenv("NAPARI_SAM_DATA", str(tmp_path))
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "cache"))
    viewer = make_napari_viewer()
    pixels = np.random.default_rng(3).integers(0, 255, (90, 120), dtype=np.uint8)
    viewer.add_image(pixels, name="cells")
    widget = ModelsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Models")
    viewer.window._qt_window.show()
    yield widget
    widget.attachment.close()


def _weights(path: Path, seed: int) -> str:
    torch.manual_seed(seed)
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
    save_checkpoint(sam, path)
    return str(path)


def test_files_of_ones_own_answer_in_turn(widget: ModelsWidget, qtbot: Any, tmp_path: Path) -> None:
    first, second = (_weights(tmp_path / f"{name}.safetensors", n) for n, name in enumerate("ab"))
    attachment = widget.attachment
    assert "No image is open" in widget.now.text()
    assert not widget.use_file.isEnabled()
    widget.path.setText(first)
    press(qtbot, widget.use_file)
    qtbot.waitUntil(lambda: "a.safetensors" in widget.now.text(), timeout=PATIENT)
    workplace = attachment.workplace
    assert workplace is not None
    number = workplace.session.add_object(MaskRegion(5, 5, np.ones((9, 9), bool)))
    store = workplace.store
    widget.path.setText(second)
    press(qtbot, widget.use_file)
    qtbot.waitUntil(lambda: "b.safetensors" in widget.now.text(), timeout=PATIENT)
    assert workplace.session.ids == [number]
    assert workplace.store.place.name != store.place.name
    assert Path(store.place.name).is_dir()
    assert "b.safetensors answers now" in widget.message.text()
    assert "those of a.safetensors are kept, and 1 object too" in widget.message.text()
    # A file that is none changes nothing.
    widget.path.setText(str(tmp_path / "none.pth"))
    press(qtbot, widget.use_file)
    assert "There is no file" in widget.message.text()
    assert workplace.model_name == second


def test_a_download_with_progress(
    widget: ModelsWidget, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = bytes(300_000)
    row = replace(
        checkpoints.CHECKPOINTS["vit_t_lm"],
        hash=f"sha256:{hashlib.sha256(body).hexdigest()}",
        size=len(body),
    )
    monkeypatch.setitem(checkpoints.CHECKPOINTS, row.name, row)
    widget.refresh()
    names = [model.name for model in model_rows()]
    assert [widget.table.item(n, 0).text() for n in range(widget.table.rowCount())] == names
    widget.table.setCurrentCell(0, 0)
    assert "Licence: Apache-2.0" in widget.details.text()
    assert not widget.fetch.isEnabled()  # it is bundled
    widget.table.setCurrentCell(names.index(row.name), 0)
    assert "CC-BY-4.0" in widget.details.text()
    assert widget.use.text() == "Download and use"
    monkeypatch.setenv("NAPARI_SAM_OFFLINE", "1")
    press(qtbot, widget.fetch)
    qtbot.waitUntil(lambda: "forbids downloading" in widget.message.text(), timeout=PATIENT)
    monkeypatch.delenv("NAPARI_SAM_OFFLINE")
    with CheckpointServer({row.file_name: body}) as server:
        monkeypatch.setenv("NAPARI_SAM_MIRROR", server.url)
        shown: list[str] = []
        widget.bar.valueChanged.connect(lambda _: shown.append(widget.bar.text()))
        press(qtbot, widget.fetch)
        assert widget.stop.isVisible()
        qtbot.waitUntil(lambda: "is here:" in widget.message.text(), timeout=PATIENT)
    assert shown
    assert widget.use.text() == "Use this model"
    assert not widget.stop.isVisible()
    assert widget.table.item(names.index(row.name), 2).text() == "yes"
