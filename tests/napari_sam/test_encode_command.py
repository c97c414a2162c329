"""`napari-sam encode`, `info` and `verify`, from arguments to a store."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_sam.cli import main
from napari_sam.commands import encode as command
from napari_sam.tiles import frames, pipeline
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.places import find_place
from napari_sam.tiles.store import EmbeddingStore, State

ROOT = Path(__file__).parents[2]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, np.random.default_rng(1).integers(0, 999, (300, 260), dtype=np.uint16))
    return path


@pytest.fixture
def encode(image: Path, tiny_weights: Path) -> Any:
    """Return a function that runs `encode` for a store, with more options."""

    def run(store: Path, *more: object, image: Path = image) -> int:
        arguments = ["encode", image, "-o", store, "--model", tiny_weights, *more]
        return main([str(argument) for argument in arguments])

    return run


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("napari-sam: ")
    assert err.count("\n") == 1
    assert err.endswith(".\n")
    return err


def embeddings(store: Path) -> dict[str, bytes | None]:
    """Return the store's chunks; what a killed process was writing is none."""
    place = find_place(store)
    return {key: place.fetch(key) for key in place.all_keys() if "/c." in key}


def test_encode_info_verify(
    encode: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert encode(store) == 0
    printed = capsys.readouterr()
    opened = EmbeddingStore.open(store)
    assert (opened.geometry.tile, opened.geometry.halo, opened.levels) == (64, 8, (0, 1, 2, 3))
    assert f"{opened.progress().done} tiles encoded" in printed.out
    assert printed.err == ""
    assert opened.progress().missing == 0
    assert main(["info", str(store)]) == 0
    out = capsys.readouterr().out
    for words in ("scene.tif, 300 × 260 pixels", "stretched", "32 × 4 × 4, float16", "halo of 8"):
        assert words in out
    assert "    0        36        36         0         0         0" in out
    assert main(["verify", str(store)]) == 0
    assert f"{opened.progress().done} embeddings read, 0 damaged" in capsys.readouterr().out
    assert encode(store, "--resume") == 0
    out = capsys.readouterr().out
    assert out.startswith("all tiles asked for are there already\n")
    assert "encoded" not in out


def test_a_dry_run_writes_nothing(
    encode: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.iterdir())
    assert encode(tmp_path / "store", "--dry-run", "--levels", "0,1") == 0
    out = capsys.readouterr().out
    assert "300 × 260" in out
    assert "45 tiles to do" in out
    assert "s for a tile" in out
    assert sorted(tmp_path.iterdir()) == before


def test_choices(encode: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    more = ["--levels", "0", "--roi", "40,61,0,-5", "--halo", "4", "--dtype", "bfloat16"]
    assert encode(store, *more) == 0
    opened = EmbeddingStore.open(store)
    assert (opened.geometry.halo, opened.layout.dtype) == (4, "bfloat16")
    assert opened.progress().done == 2
    assert opened.state(TileId(0, 0, 1)) is State.DONE
    assert encode(store, "--resume", "--halo", "4", "--dtype", "bfloat16") == 0
    assert opened.progress().missing == 0


def test_killed_and_resumed_is_the_same_to_the_byte(
    encode: Any, image: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    big = tmp_path / "big.tif"
    pixels = np.random.default_rng(3).integers(0, 256, (900, 900), dtype=np.uint8)
    tifffile.imwrite(big, pixels, tile=(128, 128))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    arguments = ["encode", big, "-o", killed, "--model", tiny_weights]
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_sam.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    for _ in range(1000):
        if len(list(killed.rglob("c.*"))) > 20 or process.poll() is not None:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    between = EmbeddingStore.open(killed).progress()
    assert between.done > 0
    assert between.missing > 0
    assert encode(killed, "--resume", image=big) == 0
    assert encode(whole, image=big) == 0
    assert EmbeddingStore.open(killed).progress().missing == 0
    assert embeddings(killed) == embeddings(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_tile_and_says_how_to_go_on(
    encode: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    calls = 0

    def embed(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            os.kill(os.getpid(), number)
        return frames.embed(*given)

    monkeypatch.setattr(pipeline, "embed", embed)
    store = tmp_path / "the store"
    assert encode(store, "--levels", "0,1", "--roi", "0,0,200,200") == 0
    out = capsys.readouterr().out
    assert EmbeddingStore.open(store).progress().done == 3
    assert "3 tiles encoded" in out
    (again,) = [line for line in out.splitlines() if line.startswith("stopped, ")]
    monkeypatch.undo()
    assert main(shlex.split(again.partition("napari-sam ")[2])) == 0
    assert "stopped" not in capsys.readouterr().out
    states = EmbeddingStore.open(store).states(1)
    assert states[0, 0] == State.DONE
    assert EmbeddingStore.open(store).progress().missing > 0


def test_failed_tiles_are_listed_and_repeated(
    encode: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(scene: Any, geometry: TileGeometry, tile: TileId, size: int) -> Any:
        if tile == TileId(0, 1, 2):
            raise OSError("it rains")
        return frames.read_frame(scene, geometry, tile, size)

    monkeypatch.setattr(pipeline, "read_frame", reading)
    store = tmp_path / "store"
    assert encode(store) == 2
    out, err = capsys.readouterr()
    assert "tile 1, 2 of level 0 failed 3 times: it rains" in out
    assert err.startswith("napari-sam: 1 tile could not be encoded")
    assert "--retry-failed" in err
    assert main(["info", str(store)]) == 0
    assert "tile 1, 2 of level 0 failed: it rains" in capsys.readouterr().out
    monkeypatch.undo()
    assert encode(store, "--resume") == 0
    out = capsys.readouterr().out
    assert "but for 1 tile that failed before: repeat with --resume --retry-failed" in out
    assert encode(store, "--resume", "--levels", "1") == 0
    assert "all tiles asked for are there already\n" in capsys.readouterr().out
    assert encode(store, "--resume", "--retry-failed") == 0
    assert "1 tile encoded" in capsys.readouterr().out
    assert EmbeddingStore.open(store).failures() == []


def test_damage_is_found_and_repaired(
    encode: Any, image: Path, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert encode(store) == 0
    whole = embeddings(store)
    name = sorted(whole)[3]

    def damage() -> None:
        (store / name).write_bytes(whole[name][:-9] + bytes(9))
        capsys.readouterr()

    damage()
    repair = ["--repair", str(image), "--model", str(tiny_weights)]
    assert main(["verify", str(store), *repair]) == 0
    out = capsys.readouterr().out
    assert "1 damaged\n  tile " in out
    assert "1 encoded again" in out
    assert embeddings(store) == whole
    damage()
    assert main(["verify", str(store)]) == 2
    out, err = capsys.readouterr()
    assert "1 damaged" in out
    assert "--resume" in err
    assert encode(store, "--resume") == 0
    assert embeddings(store) == whole
    damage()
    assert main(["verify", str(store), "--repair", "--model", str(tiny_weights)]) == 0
    assert embeddings(store) == whole
    damage()
    assert main(["verify", str(store), "--repair", str(image)]) == 2  # with vit_nano
    assert "another model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--levels", "0,9"], "Level 9 cannot be encoded"),
        (["--levels", "a"], "not a list of levels"),
        (["--levels", "-1"], "not a list of levels"),
        (["--roi", "1,2,3"], "not R0,C0,R1,C1"),
        (["--roi", "0,0,9.5,9"], "whole pixels"),
        (["--roi", "0,0,0,9"], "shares no area"),
        (["--roi", "-9,-9,-1,-1"], "shares no area"),
        (["--halo", "32"], "leaves no core"),
        (["--halo", "x"], "not a whole number of pixels"),
        (["--dtype", "float32"], "float32"),
        (["--device", "abacus"], "no device"),
        (["--model", "vit_x"], "vit_nano, vit_t, vit_b"),
        (["--resume"], "does not exist"),
    ],
)
def test_bad_arguments(
    encode: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert words in refused(capsys, encode(tmp_path / "store", *more))
    assert not (tmp_path / "store").exists()


def test_bad_images_and_places(
    encode: Any, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert "absent.tif" in refused(capsys, encode(store, image=tmp_path / "absent.tif"))
    assert not store.exists()
    store.write_text("a file")
    refused(capsys, encode(store))
    store.unlink()
    store.mkdir()
    (store / "a file").touch()
    refused(capsys, encode(store))
    for arguments in (["info", store], ["verify", store], ["info", tmp_path / "none"]):
        refused(capsys, main([str(argument) for argument in arguments]))


def test_a_store_of_something_else_is_refused(
    encode: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    assert encode(store, "--levels", "2,3") == 0
    capsys.readouterr()
    assert "--resume" in refused(capsys, encode(store))
    assert "--resume" in refused(capsys, encode(store, "--dry-run"))
    assert "another model" in refused(capsys, encode(store, "--resume", "--model", "vit_nano"))
    assert "other tiles" in refused(capsys, encode(store, "--resume", "--halo", "3"))
    assert "holds float16" in refused(capsys, encode(store, "--resume", "--dtype", "bfloat16"))
    other = tmp_path / "other.tif"
    tifffile.imwrite(other, np.zeros((300, 260), np.uint16))
    assert "other pixels" in refused(capsys, encode(store, "--resume", image=other))
    tifffile.imwrite(other, np.zeros((310, 260), np.uint16))
    assert "another size" in refused(capsys, encode(store, "--resume", image=other))


def test_sizes_and_times_are_readable() -> None:
    assert command._time_said(3.7e-05) == "less than 0.01 s"
    assert command._time_said(0.123) == "0.12 s"
    assert command._time_said(0.4) == "0.4 s"
    assert command._time_said(12.34) == "12 s"
    assert command._time_said(89.9) == "90 s"
    assert command._time_said(180) == "3 min"
    assert command._time_said(60 * 12) == "12 min"
    assert command._time_said(3600 * 7) == "7.0 h"


@pytest.mark.parametrize("name", ["encode", "info", "verify"])
def test_help_fits_a_terminal(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: napari-sam {name}")
    assert max(map(len, out.splitlines())) <= 88
