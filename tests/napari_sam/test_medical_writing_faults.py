"""DICOM SEG and RTSTRUCT that cannot be written: a sentence, and nothing half done."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from medical_samples import ORIENTATIONS, Phantom, marked, name_of, turned, write_dicom_sample

from napari_sam.errors import InputError
from napari_sam.files.labelled import Labelled
from napari_sam.files.medical.rtstruct_writing import write_rtstruct
from napari_sam.files.medical.seg_writing import write_seg
from napari_sam.scene import open_scene

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

PHANTOM = Phantom()
AXIAL = ORIENTATIONS[[name_of(one) for one in ORIENTATIONS].index("SPL")]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_dicom_sample(tmp_path / "images", PHANTOM, AXIAL)
    return tmp_path / "images"


@pytest.fixture
def labelled(series: Path) -> Any:
    return marked(PHANTOM, series)


def test_what_a_header_says_is_in_no_message(
    labelled: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise ValueError("what is Müller^Jörg")

    monkeypatch.setattr("highdicom.seg.Segmentation", refused)
    with pytest.raises(InputError, match="write a NIfTI") as told:
        write_seg(tmp_path / "seg.dcm", labelled)
    assert "Müller" not in str(told.value)


WRITERS = pytest.mark.parametrize("write", [write_seg, write_rtstruct])


@WRITERS
def test_an_existing_file_is_replaced_when_the_new_one_is_whole(
    labelled: Any, tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made.dcm"
    path.write_bytes(b"before")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pydicom.dataset.Dataset.save_as", full)
        with pytest.raises(InputError, match="No space left on device"):
            write(path, labelled)
    assert path.read_bytes() == b"before"
    write(path, labelled)
    assert pydicom.dcmread(path).Modality in ("SEG", "RTSTRUCT")
    assert {one.name for one in tmp_path.iterdir()} == {"images", "made.dcm"}


@WRITERS
def test_what_cannot_be_written_is_told_in_a_sentence(
    labelled: Any, series: Path, tmp_path: Path, write: Any
) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "no folder" / "made.dcm", labelled)
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path, labelled)
    none = Labelled(labelled.scene, np.zeros(labelled.labels.shape, np.uint8), "ZYX")
    with pytest.raises(InputError, match="no objects"):
        write(tmp_path / "made.dcm", none)
    plain = open_scene(np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match="is not DICOM"):
        write(tmp_path / "made.dcm", Labelled(plain, np.ones((4, 5), np.uint8), "YX"))
    shutil.rmtree(series)
    with pytest.raises(InputError, match="no longer there"):
        write(tmp_path / "made.dcm", labelled)
    assert list(tmp_path.iterdir()) == []


@WRITERS
@pytest.mark.parametrize(
    "other",
    [Phantom(turned((0.0, 0.0, 30.0))), Phantom(shape=(6, 4, 3)), Phantom(shape=(5, 4, 5))],
    ids=["turned", "wider", "longer"],
)
def test_files_that_are_others_by_now_are_refused(
    labelled: Any, series: Path, tmp_path: Path, write: Any, other: Phantom
) -> None:
    shutil.rmtree(series)
    write_dicom_sample(series, other, AXIAL)
    with pytest.raises(InputError, match="when they were opened"):
        write(tmp_path / "made.dcm", labelled)


def test_too_many_segments_are_refused_and_told_what_else_there_is(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sam.files.medical.seg_writing._MOST_SEGMENTS", 3)
    with pytest.raises(InputError, match=r"4 segments are too many.*by class.*label map.*NIfTI"):
        write_seg(tmp_path / "seg.dcm", marked(PHANTOM, series))
    write_seg(tmp_path / "seg.dcm", marked(PHANTOM, series), labelmap=True)
