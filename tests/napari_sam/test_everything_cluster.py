"""Everything on a dask cluster of real processes: what one process finds alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from everything_scenes import discs, make_store, pixels_of

from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.files.zarr_images import open_zarr_image
from napari_sam.scene import open_scene
from napari_sam.segment.everything import (
    EverythingProgress,
    Thresholds,
    read_table,
    running,
    segment_everything,
    thresholds,
    write_table,
)
from napari_sam.segment.everything.clicking import RawThresholds
from src_model import Sam
from src_model.automatic_thresholds import AutomaticThresholds

distributed = pytest.importorskip(
    "distributed",
    reason="dask.distributed is not installed: pip install 'napari-sam-tiled[distributed]'",
)

LABELS = discs((110, 150), (6, 10), 12)
ALL = Thresholds(-1e3, 0.0, overlap=1.0, stitch=False)


def test_the_same_objects(tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A network that knows nothing draws what covers tiles: all of it is kept, by itself.
    monkeypatch.setattr(running, "raw_thresholds", lambda _: RawThresholds(-1e3, 0.0))
    scene = open_scene(pixels_of(LABELS))
    options: dict[str, Any] = {"thresholds": ALL, "sizes": (24, None)}
    alone_store = make_store(scene, tiny_sam, tmp_path / "alone")
    alone = segment_everything(scene, alone_store, tiny_sam, **options)
    reports: list[EverythingProgress] = []
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        options |= {"client": client, "on_progress": reports.append}
        with pytest.raises(InputError, match="store in memory"):
            segment_everything(scene, make_store(scene, tiny_sam), tiny_sam, **options)
        store = make_store(scene, tiny_sam, tmp_path / "together")
        together = segment_everything(scene, store, tiny_sam, **options)
        assert segment_everything(scene, store, tiny_sam, **options).done == 0
    assert (together.done, together.failed, together.left) == (alone.done, (), 0)
    assert [report.settled for report in reports] == list(range(1, together.done + 1))
    assert len(alone.objects) > 10
    tables = []
    for name, result in (("alone", alone), ("together", together)):
        write_table(result.objects, tmp_path / f"{name}.parquet")
        tables.append(read_table(tmp_path / f"{name}.parquet").to_pylist())
    assert tables[0] == tables[1]  # ids, and masks as run lengths


def test_the_command(
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.save(tmp_path / "cells.npy", pixels_of(LABELS))
    how = ["segment", "cells.npy", "--model", str(tiny_weights), "--store", "s", "-o", "out"]
    monkeypatch.chdir(tmp_path)  # where workers are not
    best = AutomaticThresholds(0.2, 0.2, 0.7)
    monkeypatch.setattr(thresholds, "automatic_thresholds", lambda *_: best)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        everything = [*how, "--everything", "--sizes", "30,"]
        assert main([*everything, "--scheduler", cluster.scheduler_address]) == 0
    labels = open_zarr_image(tmp_path / "out" / "cells_labels.zarr").array
    assert labels.shape == LABELS.shape
    capsys.readouterr()
    assert main([*how, "--point", "5,5", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "--everything" in capsys.readouterr().err
    assert main([*everything, "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "No scheduler" in capsys.readouterr().err
