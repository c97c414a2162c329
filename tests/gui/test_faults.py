"""What goes wrong while somebody works: told in a sentence, and no object is lost."""

# ruff: noqa: F401, F811 (fixtures come from another module)

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import Discs, Driven, discs, drive, own_sessions, until
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from small_model import save_small_model

from napari_sam.errors import InputError
from napari_sam.session import Session, SessionWarning
from napari_sam.sessions.journal import JournalFile
from napari_sam.tiles import frames
from napari_sam.widgets import commands
from napari_sam.widgets.segment import SegmentWidget
from napari_sam.widgets.window import main_window

pytestmark = pytest.mark.usefixtures("own_sessions", "small_model")

HERE = Path(__file__).parent
Make = Callable[..., Any]
Key = Qt.Key
PIXELS = np.random.default_rng(5).integers(0, 255, (80, 100), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a network of tiles of 64 pixels."""
    return save_small_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def small_model(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be what answers where nothing else is chosen."""
    monkeypatch.setattr("napari_sam.widgets.attached.DEFAULT_MODEL", str(weights))


@pytest.fixture
def said() -> Iterator[list[tuple[str, str]]]:
    """Collects what `listen` hears; in the end nothing went wrong that was not told in words."""
    before = len(notification_manager.records)
    yield []
    told = [note.message for note in notification_manager.records[before:]]
    assert not [message for message in told if "Traceback" in message or "log says" in message]


def listen(driven: Driven, said: list[tuple[str, str]]) -> None:
    driven.sam.said.connect(lambda level, sentence: said.append((level, sentence)))


def told(said: list[tuple[str, str]], words: str) -> bool:
    """Whether a warning or an error has these words."""
    return any(words in sentence for level, sentence in said if level != "info")


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script in another process, which is killed in the end."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(HERE), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


ANNOTATING = """
import sys
sys.path.insert(0, sys.argv[1])
import napari, numpy
from driving import Discs, drive
from qtpy.QtCore import Qt
import napari_sam.live.workplace as workplace
import napari_sam.widgets.attached as attached
workplace.Segmenter = lambda scene, *_: Discs(scene.shape)
attached.DEFAULT_MODEL = sys.argv[2]
driven = drive(napari.Viewer(), numpy.load(sys.argv[3]))
for number in range(100):
    driven.click(10 + number % 4 * 20, 10 + number // 4 * 20)
    print("prompted", *driven.session.prompts, flush=True)
    driven.key(Qt.Key.Key_Return)
    print("kept", *driven.session.ids, flush=True)
"""


def test_kill_9_while_annotating(
    make_napari_viewer: Make, discs: list[Discs], weights: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "pixels.npy", PIXELS)
    with running(ANNOTATING, weights, tmp_path / "pixels.npy") as process:
        assert process.stdout is not None
        while (line := process.stdout.readline().split())[:4] != ["kept", "1", "2", "3"]:
            assert line, "it ended by itself"
        line = process.stdout.readline().split()
        assert line == ["prompted", "4"]
        process.send_signal(signal.SIGKILL)
    driven = drive(make_napari_viewer(show=True), PIXELS)
    session = driven.session
    # What was told is there; the key after it may have been in time.
    assert session.ids in ([1, 2, 3], [1, 2, 3, 4])
    assert session.ids == [1, 2, 3, 4] or len(session.prompts[4].points) == 1
    if 4 in session.prompts:
        assert len(driven.viewer.layers["prompts"].data) == 1
        assert driven.shown().any()
        driven.key(Key.Key_Return)
    assert session.ids == [1, 2, 3, 4]
    assert session.object_at(10, 10) == 1
    assert all(driven.sam.objects_layer.data[0].__array__()[10 + 20 * n, 10] for n in range(4))


@contextmanager
def full_disk() -> Iterator[None]:
    def full(self: JournalFile, content: bytes) -> None:
        if content:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalFile, "_write", full)
        yield


@pytest.mark.filterwarnings("ignore::napari_sam.session.SessionWarning")
def test_a_full_disk_while_annotating(
    make_napari_viewer: Make, discs: list[Discs], said: list[tuple[str, str]]
) -> None:
    driven = drive(make_napari_viewer(show=True), PIXELS)
    listen(driven, said)
    session = driven.session
    with full_disk():
        driven.click(20, 20)
        driven.key(Key.Key_Return)
        assert told(said, "No space left on device")
        assert told(said, "kept in memory")
        assert session.ids == [1]
        assert driven.sam.objects_layer.data[0].__array__()[20, 20] == 1
        assert session.unsaved
        said.clear()
        # The window does not close and take the object with it.
        main_window(driven.viewer).close()
        assert main_window(driven.viewer).isVisible()
        assert told(said, "in memory only")
    driven.click(20, 60)
    driven.key(Key.Key_Return)
    assert not session.unsaved
    path, scene = session.path, session.scene
    driven.sam.close()
    with Session.open(path, scene) as again:
        assert again.ids == [1, 2]


@pytest.mark.filterwarnings("ignore::napari_sam.session.SessionWarning")
def test_an_image_that_is_left_while_the_disk_is_full(
    make_napari_viewer: Make, discs: list[Discs], said: list[tuple[str, str]]
) -> None:
    viewer = make_napari_viewer()
    driven = drive(viewer, PIXELS)
    listen(driven, said)
    with full_disk():
        commands.point(driven.sam, 20, 20, True)
        driven.settle()
        commands.accept(driven.sam)
        driven.settle()
        viewer.layers.remove(driven.sam.image_layer)
        until(lambda: told(said, "in memory only"))
        viewer.add_image(PIXELS)
        driven.widget.start.click()
        with pytest.raises(InputError, match="in memory only"):
            driven.sam.ready(60)
    driven.widget.start.click()
    driven.sam.ready(60)
    assert driven.session.ids == [1]


def test_embeddings_that_are_deleted_while_they_are_used(
    make_napari_viewer: Make, said: list[tuple[str, str]]
) -> None:
    driven = drive(make_napari_viewer(show=True), PIXELS)
    listen(driven, said)
    driven.click(20, 20)
    driven.key(Key.Key_Return)
    assert driven.session.ids == [1]
    folder = driven.sam.workplace.store.place.folder
    assert folder is not None
    shutil.rmtree(folder)
    driven.click(70, 90)  # of another tile, which may be in memory yet
    until(lambda: driven.sam.offers.candidates)  # they were begun again
    assert told(said, "no longer there")
    assert driven.sam.workplace.store.progress().done
    said.clear()
    driven.click(60, 60)
    assert len(driven.session.prompts[2].points) == 2
    assert not told(said, "")
    assert driven.session.ids == [1]


def test_another_model_in_the_middle(
    make_napari_viewer: Make, tmp_path: Path, said: list[tuple[str, str]]
) -> None:
    import torch

    from src_model import Variant, build_sam
    from src_model.weight_files import save_checkpoint

    torch.manual_seed(1)
    variant = Variant(
        image_size=64, depth=2, embed_dim=32, num_heads=2, out_chans=32, global_attn_indexes=(1,)
    )
    other = tmp_path / "other.safetensors"
    save_checkpoint(build_sam(variant), other)
    driven = drive(make_napari_viewer(show=True), PIXELS)
    listen(driven, said)
    driven.click(20, 20)
    driven.key(Key.Key_Return)
    area = driven.session.mask(1).area
    driven.click(60, 60)
    before = driven.sam.offers.candidates[2]
    store = driven.sam.workplace.store
    driven.sam.use(model=str(tmp_path / "gone.safetensors"))
    with pytest.raises(InputError, match=r"gone\.safetensors"):
        driven.sam.ready(60)
    assert told(said, "gone.safetensors")
    assert driven.sam.workplace.store is store
    driven.sam.use(model=str(other))
    driven.click(40, 90)  # too early: it is told, and nothing is prompted
    driven.sam.ready(60)
    driven.settle()
    assert driven.sam.workplace.store.model.hash != store.model.hash
    assert len(driven.session.prompts[2].points) == 1
    after = driven.sam.offers.candidates[2]
    assert [one.predicted_iou for one in after] != [one.predicted_iou for one in before]
    assert driven.session.ids == [1]
    assert driven.session.mask(1).area == area


def test_memory_runs_out_while_a_tile_is_encoded(
    make_napari_viewer: Make, said: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("napari_sam.live.embed_core.encode_tiles", fail)
        patch.setattr("napari_sam.tiles.embeddings.embed", fail)
        driven = drive(make_napari_viewer(show=True), PIXELS)
        listen(driven, said)
        driven.click(20, 20)
        until(lambda: told(said, "memory"))
        assert not driven.sam.offers.candidates
        assert driven.sam.embedder is not None
        assert "memory" in (driven.sam.embedder.status.problem or "")
    driven.click(22, 22)  # the window goes on, and so does the session
    assert driven.sam.offers.candidates
    assert len(driven.session.prompts[1].points) == 2
    driven.key(Key.Key_Return)
    assert driven.session.ids == [1]


HOLDING = """
import sys
from napari_sam.live.workplace import Picture, Workplace
from pathlib import Path
path = Path(sys.argv[3])
workplace = Workplace.open(Picture(path, path=path), sys.argv[2])
workplace.session.add_point(30, 30)
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_window_on_one_file_is_told_who_has_it(
    make_napari_viewer: Make,
    discs: list[Discs],
    weights: Path,
    tmp_path: Path,
    said: list[tuple[str, str]],
) -> None:
    path = tmp_path / "cells.npy"
    np.save(path, PIXELS)
    viewer = make_napari_viewer(show=True)
    (layer,) = viewer.open(path)
    with running(HOLDING, weights, path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        widget = SegmentWidget(viewer)
        viewer.window.add_dock_widget(widget)
        driven = Driven(viewer, widget)
        listen(driven, said)
        with pytest.raises(InputError, match=f"process {process.pid}"):
            widget.attachment.ready(60)
        assert told(said, f"process {process.pid}")
        assert widget.attachment.workplace is None
        assert list(viewer.layers) == [layer]
    widget.start.click()  # that process is gone
    widget.attachment.ready(60)
    driven.settle()
    assert len(driven.session.prompts[1].points) == 1
    driven.key(Key.Key_Return)
    assert driven.session.ids == [1]
