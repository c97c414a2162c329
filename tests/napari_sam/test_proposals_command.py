"""`napari-sam proposals`: ranked boxes that `segment --boxes` takes, or masks."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from everything_scenes import discs, perfect, pixels_of

from napari_sam.cli import main
from napari_sam.files.boxes import read_boxes
from napari_sam.segment.everything import read_table, running, thresholds
from napari_sam.segment.everything.object_table import table_mask
from napari_sam.tiles.embeddings import Embeddings
from napari_sam.tiles.geometry import TileId
from src_model.automatic_thresholds import AutomaticThresholds

LABELS = discs((100, 130), (6, 10), 12)


def propose(*arguments: object) -> int:
    return main(["proposals", *map(str, arguments)])


def test_boxes_and_masks(
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clicked: list[TileId] = []
    click = perfect(LABELS)

    def counted(ready: Any, *given: Any) -> Any:
        clicked.append(ready.tile)
        return click(ready, *given)

    def ready(embeddings: Embeddings, tile: TileId) -> Any:
        return SimpleNamespace(tile=tile, window=embeddings.store.geometry.window(tile))

    monkeypatch.setattr(Embeddings, "at", ready)
    monkeypatch.setattr(running, "click_tile", counted)
    best = AutomaticThresholds(0.88, 0.8, 0.7)
    monkeypatch.setattr(thresholds, "automatic_thresholds", lambda *_: best)
    image = tmp_path / "cells.tif"
    tifffile.imwrite(image, pixels_of(LABELS))
    how = ("--sizes", "10,15", "--model", tiny_weights)
    boxes = tmp_path / "found.csv"
    assert propose(image, "-o", boxes, *how) == 0
    assert f"{LABELS.max()} proposals" in capsys.readouterr().out
    rows = list(csv.DictReader(boxes.open()))
    assert [row["id"] for row in rows] == [str(n + 1) for n in range(LABELS.max())]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    tight = set()
    for number in range(1, LABELS.max() + 1):
        places = np.argwhere(number == LABELS)
        tight.add((*(places.min(0) - 0.5).tolist(), *(places.max(0) + 0.5).tolist()))
    assert {box.corners for box in read_boxes(boxes, "cells.tif", None)} == tight
    done = len(clicked)
    masks = tmp_path / "found.parquet"
    assert propose(image, "-o", masks, "--most", 5, *how) == 0
    assert len(clicked) == done  # the network was not asked again
    table = read_table(masks).to_pylist()
    assert [row["id"] for row in table] == [1, 2, 3, 4, 5]
    for row in table:
        part = LABELS[row["row0"] : row["row1"], row["col0"] : row["col1"]]
        number = part[part.shape[0] // 2, part.shape[1] // 2]
        np.testing.assert_array_equal(table_mask(row), part == number)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "found.txt"], "does not end in .csv or .parquet"),
        (["-o", "found.csv", "--most", "0"], "ask for 1 or more"),
        (["-o", "found.csv", "--sizes", "8um,60um"], "how large its pixels are"),
        (["-o", "found.csv", "--scheduler", "tcp://127.0.0.1:1"], "No scheduler"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path,
    tiny_weights: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("cells.tif", pixels_of(LABELS))
    assert propose("cells.tif", "--model", tiny_weights, *arguments) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["cells.tif"]
