"""`napari-sam segment` on images of any size, with a network that sees perfectly or not at all."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from everything_scenes import discs, perfect, pixels_of
from PIL import Image

from napari_sam.cli import main
from napari_sam.commands.demo_mosaic import segment_mosaic
from napari_sam.files.zarr_images import open_zarr_image
from napari_sam.segment.everything import read_table, running, thresholds
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId
from napari_sam.tiles.store import EmbeddingStore, State
from src_model import Sam
from src_model.automatic_thresholds import AutomaticThresholds

LABELS = discs((100, 130), (6, 10), 12)


def segment(*arguments: object) -> int:
    return main(["segment", *map(str, arguments)])


def labels_of(folder: Path) -> np.ndarray:
    return np.asarray(open_zarr_image(folder / "cells_labels.zarr").array[:])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "cells.tif", pixels_of(LABELS))
    return tmp_path / "cells.tif"


@pytest.fixture
def clicked(monkeypatch: pytest.MonkeyPatch) -> list[TileId]:
    """Let the network see perfectly, and return the tiles that are clicked through."""
    tiles: list[TileId] = []
    click = perfect(LABELS)

    def counted(ready: Any, *given: Any) -> Any:
        tiles.append(ready.tile)
        return click(ready, *given)

    def ready(embeddings: Embeddings, tile: TileId) -> Any:
        return SimpleNamespace(tile=tile, window=embeddings.store.geometry.window(tile))

    monkeypatch.setattr(Embeddings, "at", ready)
    monkeypatch.setattr(running, "click_tile", counted)
    best = AutomaticThresholds(0.88, 0.8, 0.7)
    monkeypatch.setattr(thresholds, "automatic_thresholds", lambda *_: best)
    return tiles


def test_a_larger_image_goes_through_a_store_beside_the_results(
    tmp_path: Path,
    tiny_weights: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 1025), dtype=np.uint8)
    np.save(tmp_path / "cells.npy", pixels)
    np.save(tmp_path / "small.npy", pixels[:, 1:])
    out = tmp_path / "new" / "out"
    how = ("--model", tiny_weights, "-o", out)
    assert segment(tmp_path / "cells.npy", "--point", "30,1000", *how) == 0
    printed = capsys.readouterr().out
    for name in ("cells_labels.zarr", "cells_objects.parquet", "cells_overlay.png"):
        assert str(out / name) in printed
        assert (out / name).exists()
    labels = labels_of(out)
    assert labels.shape == pixels.shape
    rows = read_table(out / "cells_objects.parquet").to_pylist()
    assert [row["area_px"] for row in rows] == [np.count_nonzero(labels)] * len(rows)
    assert max(Image.open(out / "cells_overlay.png").size) <= 2048
    assert f"{out / 'cells.embeddings'} (" in printed
    assert EmbeddingStore.open(out / "cells.embeddings").progress().done
    # The next call encodes nothing, and replaces what was there.
    monkeypatch.setattr(Embeddings, "_encode", lambda *_: pytest.fail("encoded again"))
    assert segment(tmp_path / "cells.npy", "--point", "30,1000", *how) == 0
    np.testing.assert_array_equal(labels_of(out), labels)
    # One column less, and the image is looked at as a whole.
    assert segment(tmp_path / "small.npy", "--point", "30,1000", *how) == 0
    assert tifffile.imread(out / "small_labels.tif").shape == (60, 1024)


def test_everything_stopped_and_gone_on_with(
    image: Path,
    tiny_weights: Path,
    clicked: list[TileId],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "kept"
    how = ("--everything", "--sizes", "10,", "--store", store, "--model", tiny_weights)
    click = running.click_tile

    def interrupted(*given: Any) -> Any:
        if len(clicked) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return click(*given)

    monkeypatch.setattr(running, "click_tile", interrupted)
    assert segment(image, *how, "-o", tmp_path / "out") == 130
    told = capsys.readouterr().err.strip()
    assert told.count("\n") == 0
    assert "the same command goes on" in told
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(running, "click_tile", click)
    assert segment(image, *how, "-o", tmp_path / "out") == 0
    assert len(clicked) == len(set(clicked)) > 4
    np.testing.assert_array_equal(labels_of(tmp_path / "out") > 0, LABELS > 0)
    assert f"{LABELS.max()} objects" in capsys.readouterr().out


def test_tiles_that_failed_are_told_and_done_by_the_next_call(
    image: Path,
    tiny_weights: Path,
    clicked: list[TileId],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, at = TileId(0, 1, 1), Embeddings.at

    def failing(embeddings: Embeddings, tile: TileId) -> Any:
        if tile == bad:
            raise OSError("the disk is away")
        return at(embeddings, tile)

    monkeypatch.setattr(Embeddings, "at", failing)
    how = ("--everything", "--sizes", "10,25", "--model", tiny_weights, "-o", tmp_path / "out")
    assert segment(image, *how) == 2
    listed, sentence = capsys.readouterr().err.strip().splitlines()
    assert "failed 3 times: the disk is away" in listed
    assert sentence.startswith("napari-sam: 1 tile could not be looked at")
    picture = np.asarray(Image.open(tmp_path / "out" / "cells_overlay.png"))
    hatched = (picture == (235, 50, 50)).all(-1).any()
    assert hatched
    clicked.clear()
    monkeypatch.setattr(Embeddings, "at", at)
    assert segment(image, *how) == 0
    assert clicked == [bad]
    np.testing.assert_array_equal(labels_of(tmp_path / "out") > 0, LABELS > 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--point", "1,2", "--sizes", "8,60"], "--everything looks for"),
        (["--everything", "--sizes", "8,60um"], "not MIN,MAX in one unit"),
        (["--everything", "--sizes", ","], "not MIN,MAX in one unit"),
        (["--everything", "--sizes", "8um,60um"], "how large its pixels are"),
        (["--everything", "--sizes", "60,8"], "not MIN,MAX in one unit"),
        (["--everything", "--store", "cells.tif"], "cells.tif"),
        (["--boxes", "b.csv", "--sizes", "8,60"], "are for --everything"),
        (["--point", "100,3", "--store", "s"], "outside the image"),
    ],
)
def test_what_cannot_be_done_is_refused(
    image: Path,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert segment(image, *arguments, "--model", tiny_weights, "-o", "out") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert words in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_store_of_another_image_or_no_labels_are_not_touched(
    image: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ("--box", "10,10,40,40", "--store", tmp_path / "s", "--model", tiny_weights)
    assert segment(image, *how, "-o", tmp_path / "out") == 0
    tifffile.imwrite(image, pixels_of(LABELS)[::-1].copy())
    assert segment(image, *how, "-o", tmp_path / "out") == 2
    assert "made for something else" in capsys.readouterr().err
    (tmp_path / "other" / "cells_labels.zarr").mkdir(parents=True)
    assert segment(image, *how, "-o", tmp_path / "other") == 2
    assert "is no Zarr" in capsys.readouterr().err


def test_the_demos_mosaic_with_any_model(tiny_sam: Sam, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 70, 3), dtype=np.uint8)
    for _ in range(2):  # an earlier demo's folder is no obstacle
        overlays = segment_mosaic(tiny_sam, image, tmp_path / "demo")
        assert overlays[0] == tmp_path / "demo" / "mosaic_overlay.png"
        assert all(path.stat().st_size for path in overlays)
    mosaic = tifffile.imread(tmp_path / "demo" / "mosaic.tif")
    assert mosaic.shape == (120, 140, 3)
    np.testing.assert_array_equal(mosaic[:60, :70], image)
    store = EmbeddingStore.open(tmp_path / "demo" / "mosaic.embeddings")
    assert len([*store.tiles(0, State.DONE)]) > 4


def test_the_plane_of_a_stack_is_told(
    tmp_path: Path, tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 1025), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "stack.tif", pixels, imagej=True, metadata={"axes": "ZYX"})
    how = ("--point", "30,1000", "--model", tiny_weights, "-o", tmp_path / "out")
    assert segment(tmp_path / "stack.tif", *how) == 0
    assert "stack.tif (40 rows, 1025 columns, z = 0): " in capsys.readouterr().out
