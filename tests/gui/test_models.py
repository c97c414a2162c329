"""Models: listed, downloaded, used for the image that is open, in a real window."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_server import CheckpointServer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_sam.commands.models import model_rows
from napari_sam.loading import load
from napari_sam.own_models import ModelCard, OwnModel, find_own_model, register
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.widgets.models import ModelsWidget
from src_model import Sam, Variant, build_sam, checkpoints
from src_model.training.decoder_files import save_decoder
from src_model.weight_files import encoder_hash, load_weights, model_hash, save_checkpoint

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


def _sam(seed: int) -> Sam:
    torch.manual_seed(seed)
    return build_sam(
        Variant(
            image_size=64,
            depth=2,
            embed_dim=32,
            num_heads=2,
            out_chans=32,
            global_attn_indexes=(1,),
        )
    )


def _weights(path: Path, seed: int) -> str:
    save_checkpoint(_sam(seed), path)
    return str(path)


def _decoder_of(base: str, folder: Path, name: str) -> OwnModel:
    """Register a model with another decoder, as a run leaves it."""
    sam = _sam(0)
    load_weights(sam, base)
    about = model_hash(sam), encoder_hash(sam)
    with torch.no_grad():
        for parameter in sam.mask_decoder.parameters():
            parameter.add_(0.05)
    folder.mkdir()
    save_decoder(folder / "best_adapter.safetensors", sam, *about, Path(base).name)
    save_checkpoint(sam, folder / "best.safetensors")
    shutil.copyfile(base, folder / Path(base).name)
    report = folder / "report"
    report.mkdir()
    (report / "index.html").write_text("<p>better</p>")
    card = ModelCard(
        Path(base).name,
        about[0],
        "decoder",
        before={"IoU <1 click>": 0.5},
        after={"IoU <1 click>": 0.75},
        verdict="better",
        licence="CC0-1.0",
        note="of <blue> slides",
    )
    return register(folder / "best.safetensors", name, card, report)


def _row(widget: ModelsWidget, name: str) -> int:
    names = [widget.table.item(n, 0).text() for n in range(widget.table.rowCount())]
    return names.index(name) if name in names else -1


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


def test_a_model_of_ones_own(
    widget: ModelsWidget, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = _weights(tmp_path / "base.safetensors", 0)
    assert not widget.export.isVisible()
    model = _decoder_of(base, tmp_path / "run", "cells-1")
    # Registered elsewhere, and listed here.
    qtbot.waitUntil(lambda: _row(widget, "cells-1") > 0, timeout=PATIENT)
    widget.table.setCurrentCell(_row(widget, "cells-1"), 0)
    said = widget.details.text()
    for words in ("your own, from base.safetensors (decoder): better", "0.500", "0.750", "CC0-1.0"):
        assert words in said
    assert "of &lt;blue&gt; slides" in said
    assert (model.folder / "report" / "index.html").as_uri() in said
    assert widget.use.text() == "Use this model"
    kinds: list[str] = []

    def chosen(path: Path, kind: int) -> None:
        def ask(parent: object, title: str, start: str, filters: str) -> tuple[str, str]:
            kinds[:] = filters.split(";;")
            return str(path), kinds[kind]

        monkeypatch.setattr(QFileDialog, "getSaveFileName", staticmethod(ask))

    for kind, given, written in (
        (0, "c.pth", "c.pth"),
        (1, "v1.5.pth", "v1.5.safetensors"),
        (2, "small", "small.safetensors"),
    ):
        chosen(tmp_path / given, kind)
        press(qtbot, widget.export)
        path = tmp_path / written
        qtbot.waitUntil(lambda path=path: str(path) in widget.message.text(), timeout=PATIENT)
        if kind:  # a .pth does not say what its dimensions are
            assert model_hash(load(str(shutil.copy(path, tmp_path / "run")))) == model.hash
    assert path.stat().st_size < model.size
    chosen(tmp_path / "no" / "such.pth", 0)
    press(qtbot, widget.export)
    qtbot.waitUntil(lambda: "could not be written" in widget.message.text(), timeout=PATIENT)
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]
    monkeypatch.setattr(QMessageBox, "question", staticmethod(lambda *_: answers.pop(0)))
    press(qtbot, widget.remove)
    assert find_own_model("cells-1") == model
    press(qtbot, widget.remove)
    assert find_own_model("cells-1") is None
    assert _row(widget, "cells-1") == -1
    assert "cells-1 is removed" in widget.message.text()
    assert not widget.export.isVisible()


def test_what_becomes_of_embeddings_is_said_and_asked(
    widget: ModelsWidget, qtbot: Any, tmp_path: Path
) -> None:
    base = _weights(tmp_path / "base.safetensors", 0)
    other = _weights(tmp_path / "other.safetensors", 1)
    _decoder_of(base, tmp_path / "run", "cells-1")
    register(Path(other), "cells-2", ModelCard("base.safetensors", method="full"))
    attachment = widget.attachment
    widget.path.setText(base)
    press(qtbot, widget.use_file)
    qtbot.waitUntil(lambda: "base.safetensors" in widget.now.text(), timeout=PATIENT)
    workplace, embedder = attachment.workplace, attachment.embedder
    assert workplace is not None
    assert embedder is not None
    embedder.embed()
    qtbot.waitUntil(lambda: workplace.store.progress().missing == 0, timeout=PATIENT)
    place = workplace.store.place.name
    said: list[str] = []
    attachment.said.connect(lambda _, sentence: said.append(sentence))
    widget.table.setCurrentCell(_row(widget, "cells-1"), 0)
    assert "uses the embeddings of this image" in widget.details.text()
    press(qtbot, widget.use)
    qtbot.waitUntil(lambda: "cells-1" in widget.now.text(), timeout=PATIENT)
    assert workplace.store.place.name == place
    assert any("answers now, with the embeddings that are there" in one for one in said)
    assert "Embeddings of custom are used: cells-1 changed only the decoder." in said
    assert widget.encode_again.isHidden()
    assert not widget.remove.isEnabled()  # it answers
    widget.table.setCurrentCell(_row(widget, "cells-2"), 0)
    assert "the image is encoded again" in widget.details.text()
    embedder.stop()
    press(qtbot, widget.use)
    qtbot.waitUntil(lambda: "cells-2" in widget.now.text(), timeout=PATIENT)
    question = widget.encode_again.question
    assert "The image encoder of cells-2 is another one than that of cells-1" in question.text()
    qtbot.waitUntil(lambda: "takes about" in question.text(), timeout=PATIENT)
    press(qtbot, widget.encode_again.now)
    assert widget.encode_again.isHidden()
    qtbot.waitUntil(lambda: workplace.store.progress().missing == 0, timeout=PATIENT)
    assert workplace.store.place.name != place
    embedder.stop()
    widget.path.setText(_weights(tmp_path / "third.safetensors", 2))
    press(qtbot, widget.use_file)
    qtbot.waitUntil(lambda: "third" in widget.encode_again.question.text(), timeout=PATIENT)
    press(qtbot, widget.encode_again.later)
    assert widget.encode_again.isHidden()
    assert embedder.status.doing == "stopped"
