"""Damaged DICOM is a sentence; who the patient is stays in the files."""

import logging
import os
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_dicom import BIRTH, IDENTITY, NAME, dataset, pydicom, save, series

from napari_sam.errors import InputError
from napari_sam.files.medical.dicom import dicom_parts, is_dicom, open_dicom

POSITIONS = [(0, 0, 2 * n) for n in range(4)]


def problem_with(path):
    """Open and read all; return what is said against it."""
    try:
        source = open_dicom(path)
        source.levels[0][tuple(slice(None) for _ in source.levels[0].shape)]
    except InputError as error:
        return str(error)
    return "none"


def test_the_patient_is_nowhere_but_in_the_files(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    folder = series(tmp_path / "a", POSITIONS, RescaleSlope=1, BurnedInAnnotation="YES")
    told = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        source = open_dicom(folder)
        source.levels[0][:]
        told.append(repr(source) + repr(vars(source.levels[0]) | vars(source.levels[0].array)))
        assert source.notes == (
            "The files do not say that the patient's identity was removed.",
            "The files say that the patient's data is written into the pixels.",
        )
        # Two series, and files that are cut off or have odd values, of this patient.
        series(tmp_path / "b", POSITIONS, SeriesInstanceUID="9.9", SeriesNumber=5)
        for number, path in enumerate(sorted(folder.iterdir())):
            content = bytearray(path.read_bytes())
            if number == 0:
                del content[len(content) // 2 :]
            else:
                at = content.find(b"1\\1") if number == 1 else content.find(b"MONOCHROME2")
                content[at : at + 3] = b"x\\y"
            path.write_bytes(content)
        for path in (tmp_path, tmp_path / "a", *(tmp_path / "a").iterdir()):
            try:
                told.append(repr(open_dicom(path)))
            except InputError as error:
                told.append(str(error))
                told.append(repr(error.__cause__) if error.__suppress_context__ else "")
        told += map(str, dicom_parts(tmp_path))
    told += [str(warning.message) for warning in warned]
    told += [caplog.text, *capfd.readouterr()]
    for secret in (*NAME.split("^"), IDENTITY, BIRTH):
        assert all(secret.lower() not in text.lower() for text in told)


def test_files_that_say_so_are_anonymous(tmp_path):
    folder = series(tmp_path, POSITIONS, PatientIdentityRemoved="YES")
    assert open_dicom(folder).notes == ("The files say that the patient's identity was removed.",)


def test_a_damaged_slice_is_left_out_and_told_of(tmp_path):
    series(tmp_path, POSITIONS)
    path = next(p for p in tmp_path.iterdir() if pydicom.dcmread(p).ImagePositionPatient[2] == 2)
    path.write_bytes(path.read_bytes()[:-20])
    source = open_dicom(tmp_path)
    assert source.levels[0].shape[0] == 4
    assert "1 of 4 slices are missing" in source.notes[0]
    assert "1 file beside it is damaged, and left out." in source.notes
    with pytest.raises(InputError, match="shorter than it says"):
        open_dicom(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Rows": 60000, "Columns": 60000}, "too many"),
        ({"NumberOfFrames": 2_000_000_000}, "shorter than it says"),
        ({"BitsStored": 40}, "cannot be"),
        ({"BitsAllocated": 1}, "one bit"),
        ({"SamplesPerPixel": 7}, "7 samples"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "no right angle"),
    ],
)
def test_headers_that_cannot_be_are_refused_before_room_is_made(tmp_path, changes, words):
    data = dataset(np.zeros((4, 4), np.int16), (0, 0, 0), **changes)
    with pytest.raises(InputError, match=words):
        open_dicom(save(data, tmp_path / "a.dcm"))


def test_what_is_no_image_is_refused(tmp_path):
    data = dataset(np.zeros((4, 4), np.int16), (0, 0, 0), PixelData=None)
    with pytest.raises(InputError, match="no image"):
        open_dicom(save(data, tmp_path / "report.dcm"))
    with pytest.raises(InputError, match="no DICOM images"):
        open_dicom(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_dicom(tmp_path / "gone")
    (tmp_path / "text.dcm").write_text("This is no DICOM at all. " * 20)
    with pytest.raises(InputError):
        open_dicom(tmp_path / "text.dcm")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes are those of Unix")
def test_a_folder_that_nobody_may_look_into_is_passed_over(tmp_path):
    series(tmp_path, POSITIONS)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        assert open_dicom(tmp_path).levels[0].shape[0] == 4
        assert not is_dicom(closed)
    finally:
        closed.chmod(0o700)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A plain file, a compressed one, one of many frames."""
    folder = tmp_path_factory.mktemp("corpus")
    pixels = np.arange(64, dtype=np.int16).reshape(8, 8)
    plain = dataset(pixels, (0, 0, 0), WindowCenter=1, WindowWidth=2, RescaleSlope=2)
    coded = dataset(pixels, (0, 0, 0))
    coded.compress(pydicom.uid.RLELossless)
    frames = dataset(np.zeros((4, 4, 3), np.uint8), spacing=None, NumberOfFrames=3)
    frames.PixelData = bytes(3 * 48)
    made = [plain, coded, frames]
    return [save(data, folder / f"{n}.dcm").read_bytes() for n, data in enumerate(made)]


@settings(max_examples=50)
@given(data=st.data())
def test_no_change_of_bytes_does_more_than_a_sentence(corpus, tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(corpus)))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if content:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.dcm"
    path.write_bytes(content)
    assert len(problem_with(path).splitlines()) == 1
