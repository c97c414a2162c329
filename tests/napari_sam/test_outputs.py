"""Results on disk: complete, readable by others, all or none."""

import csv
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.errors import InputError
from napari_sam.files import outputs
from napari_sam.files.outputs import check_output_folder, write_results, written_together
from napari_sam.segment.objects import SegmentedObject

LABELS = np.arange(12, dtype=np.uint32).reshape(3, 4) % 3
OBJECTS = [
    SegmentedObject(1, "box+points", 4, (0, 1, 3, 3), (1.25, 1.5), 0.91234, 0.98765),
    SegmentedObject(2, "grid", 4, (0, 0, 3, 3), (1.0, 1.0), 0.5, 1.0),
]
OVERLAY = np.zeros((30, 40, 3), np.uint8)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    labels_path, table_path, overlay_path = write_results(folder, "cells", LABELS, OBJECTS, OVERLAY)
    with tifffile.TiffFile(labels_path) as tiff:
        assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert tiff.pages[0].dtype == np.uint32
        np.testing.assert_array_equal(tiff.asarray(), LABELS)
    with table_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == outputs.TABLE_COLUMNS
    assert list(rows[0].values()) == [
        *("1", "box+points", "4", "0", "1", "3", "3", "1.25", "1.50", "0.9123", "0.9877")
    ]
    assert len(rows) == 2
    assert np.asarray(Image.open(overlay_path)).shape == OVERLAY.shape
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in (labels_path, table_path, overlay_path)
    )


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    expected = stat.S_IMODE((tmp_path / "other").stat().st_mode)
    for path in write_results(tmp_path, "cells", LABELS, OBJECTS, OVERLAY):
        assert stat.S_IMODE(path.stat().st_mode) == expected


def test_a_failure_leaves_the_earlier_results_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_results(tmp_path, "cells", LABELS, OBJECTS, OVERLAY)
    before = [path.read_bytes() for path in paths]

    def disk_full(path: Path, image: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs, "write_png", disk_full)
    with pytest.raises(InputError, match="No space left on device"):
        write_results(tmp_path, "cells", LABELS + 1, [], OVERLAY)
    assert [path.read_bytes() for path in paths] == before
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_in_the_way_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "cells_overlay.png").mkdir()
    with pytest.raises(InputError, match="cells_overlay"):
        write_results(tmp_path, "cells", LABELS, OBJECTS, OVERLAY)
    assert [path.name for path in tmp_path.iterdir()] == ["cells_overlay.png"]


def test_interruption_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with written_together(tmp_path / "a", tmp_path / "b") as (first, _):
            first.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_files_are_on_the_disk_before_they_have_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    replace = os.replace
    monkeypatch.setattr(os, "fsync", lambda file: done.append("on the disk"))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("named"), replace(*names)))
    with written_together(tmp_path / "a", tmp_path / "b") as parts:
        for part in parts:
            part.write_bytes(b"whole")
    assert done == ["on the disk"] * 2 + ["named"] * 2


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="file is a file"):
            check_output_folder(folder)


def test_a_protected_folder_is_told_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="not writable"):
        check_output_folder(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
