"""`napari-sam open` and `demo`: when a window is opened, and what is said where none can be."""

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest

from napari_sam.cli import main
from napari_sam.commands import demo, windows
from napari_sam.commands import open as open_command

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    for name in DISPLAYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def no_napari(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What is asked of napari where a window can be opened."""
    done: list[tuple[str, ...]] = []
    launch = types.SimpleNamespace(
        show_image=lambda *given: done.append(("image", *given)),
        show_sample=lambda *given: done.append(("sample", *given)),
        wait=lambda: done.append(("wait",)),
    )
    monkeypatch.setattr(windows, "why_no_windows", lambda: None)
    monkeypatch.setattr(demo, "why_no_windows", lambda: None)
    monkeypatch.setattr(open_command, "preload", lambda: None)
    widgets = types.ModuleType("napari_sam.widgets")
    widgets.launch = launch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "napari_sam.widgets", widgets)
    return done


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Where the demo draws its pictures."""
    folders: list[Path] = []
    monkeypatch.setattr(demo, "draw", folders.append)
    return folders


def test_open_shows_the_image_and_waits(asked: list[tuple[str, ...]]) -> None:
    assert main(["open", "cells.png"]) == 0
    assert asked == [("image", "cells.png", "vit_nano", None), ("wait",)]
    assert main(["open", "plate.zarr", "--part", "B/2/0"]) == 0
    assert asked[2] == ("image", "plate.zarr", "vit_nano", "B/2/0")


def test_open_knows_its_model_before_a_window_opens(
    asked: list[tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["open", "cells.png", "--model", "vit_huge"]) == 2
    assert "vit_huge" in capsys.readouterr().err
    assert asked == []


@pytest.mark.usefixtures("no_display")
def test_open_without_a_display_says_what_needs_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "cells.png"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no display" in said
    assert "napari-sam segment" in said


@pytest.mark.usefixtures("no_napari")
def test_open_without_napari_names_the_extra(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open", "cells.png"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert 'pip install "napari-sam-tiled[gui]"' in said


def test_a_display_that_cannot_be_reached_is_found_out_beforehand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("napari", reason="napari is not installed: the [gui] extra has it")
    if not sys.platform.startswith("linux"):
        pytest.skip("only on Linux a display can be out of reach")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    monkeypatch.setenv("DISPLAY", ":65000")
    assert main(["open", "cells.png"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Qt cannot open a window here" in said


def test_the_demo_opens_napari_where_it_can(
    asked: list[tuple[str, ...]], drawn: list[Path]
) -> None:
    assert main(["demo"]) == 0
    assert asked == [("sample", "nuclei", "vit_nano"), ("wait",)]
    assert drawn == []


@pytest.mark.parametrize(
    ("options", "folder"),
    [(["--headless"], "napari-sam-demo"), (["-o", "there"], "there")],
)
def test_the_demo_draws_where_it_is_asked_to(
    asked: list[tuple[str, ...]], drawn: list[Path], options: list[str], folder: str
) -> None:
    assert main(["demo", *options]) == 0
    assert drawn == [Path(folder)]
    assert asked == []


@pytest.mark.usefixtures("no_napari")
def test_the_demo_draws_where_no_window_can_be_opened(
    drawn: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo"]) == 0
    assert drawn == [Path("napari-sam-demo")]
    assert "[gui]" in capsys.readouterr().out


def test_attach_is_found_without_napari() -> None:
    code = "import sys, napari_sam; napari_sam.attach; assert 'napari' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
