"""`napari-sam segment --everything --volume`."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from made_volumes_seen import SHAPE, balls, pixels, see

from napari_sam.cli import main
from napari_sam.files.zarr_images import open_zarr_image
from napari_sam.segment.everything import running
from napari_sam.segment.volumes import volume

LABELS = balls()


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    tifffile.imwrite(
        tmp_path / "stack.ome.tif",
        pixels(LABELS),
        metadata={
            "axes": "ZYX",
            "PhysicalSizeX": 0.5,
            "PhysicalSizeY": 0.5,
            "PhysicalSizeZ": 2.0,
            "PhysicalSizeXUnit": "mm",
            "PhysicalSizeYUnit": "mm",
            "PhysicalSizeZUnit": "mm",
        },
    )
    return tmp_path / "stack.ome.tif"


def segment(*arguments: object) -> int:
    return main(["segment", *map(str, arguments)])


@pytest.fixture
def how(tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Keep what a network finds that sees perfectly, however sure it is."""
    real = volume.segment_volume

    def sure(*given: Any, **options: Any) -> Any:
        from napari_sam.segment.everything import Thresholds

        return real(*given, **options, thresholds=Thresholds(0.8, 0.8))

    monkeypatch.setattr("napari_sam.commands.segment_volume.segment_volume", sure)
    out = tmp_path / "out"
    return "--everything", "--volume", "--sizes", "8,", "--model", tiny_weights, "-o", out


def test_a_stack_becomes_labels_and_a_table(
    stack: Path,
    how: tuple[object, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = see(monkeypatch, LABELS)
    small = float(np.bincount(LABELS.ravel())[1:].min()) * 0.5
    assert segment(stack, *how, "--export", tmp_path / "flat.tif") == 0
    told = capsys.readouterr().out
    assert f"({SHAPE[0]} slices, 96 rows, 96 columns): 3 objects of" in told
    image = open_zarr_image(tmp_path / "out" / "stack.ome_labels.zarr")
    assert image.axes == ("z", "y", "x")
    labels = np.asarray(image.array[:])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "flat.tif"), labels)
    with (tmp_path / "out" / "stack.ome_objects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    counts = np.bincount(labels.ravel())[1:]
    assert [int(row["volume_voxels"]) for row in rows] == counts.tolist()
    assert [float(row["volume"]) for row in rows] == pytest.approx(counts * 0.5)
    # Once more with other volumes: nothing is looked at, earlier results are replaced.
    looks.clear()
    assert segment(stack, *how, "--volumes", f"{1.5 * small}mm3,") == 0
    assert not looks
    assert "2 objects of" in capsys.readouterr().out
    assert len(np.unique(open_zarr_image(tmp_path / "out" / "stack.ome_labels.zarr").array[:])) == 3


def test_stopped_by_ctrl_c_it_goes_on(
    stack: Path,
    how: tuple[object, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = see(monkeypatch, LABELS)
    click = running.click_tile

    def interrupted(*given: Any) -> Any:
        if len(looks) == 9:
            os.kill(os.getpid(), signal.SIGINT)
        return click(*given)

    monkeypatch.setattr(running, "click_tile", interrupted)
    assert segment(stack, *how) == 130
    assert "the same command goes on with them" in capsys.readouterr().err
    monkeypatch.setattr(running, "click_tile", click)
    assert segment(stack, *how) == 0
    assert len(looks) == len(set(looks))
    assert "3 objects of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--volume", "--point", "3,4"], "give --everything too"),
        (["--everything", "--volumes", "5,60"], "give --volume too"),
        (["--everything", "--volume", "--volumes", "60,5"], "not MIN,MAX in voxels or one unit"),
        (["--everything", "--volume", "--volumes", "5mm2,"], "not MIN,MAX in voxels or one unit"),
        (["--everything", "--volume", "--volumes", "5mm3,9um3"], "not MIN,MAX"),
        (["--everything", "--volume", "--volumes", "5parsec3,"], "parsec"),
        (["--everything", "--volume", "--gap", "-1"], "cannot be joined"),
        (["--everything", "--volume", "--along", "y"], "along z"),
        (["--everything", "--volume", "--box", "1,2,3,4"], "does not go with --volume"),
    ],
)
def test_what_cannot_be_done_is_refused(
    stack: Path,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert segment(stack, *arguments, "--model", tiny_weights, "-o", tmp_path / "out") == 2
    told = capsys.readouterr()
    assert words in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_image_without_depth_or_its_size_is_refused(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = ("--everything", "--volume", "--model", tiny_weights, "-o", tmp_path / "out")
    tifffile.imwrite(tmp_path / "flat.tif", np.zeros((9, 12), np.uint8))
    assert segment(tmp_path / "flat.tif", *how) == 2
    assert "no depth" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "stack.tif", pixels(LABELS), metadata={"axes": "ZYX"}, ome=True)
    assert segment(tmp_path / "stack.tif", *how, "--volumes", "5mm3,") == 2
    assert "does not say how" in capsys.readouterr().err
