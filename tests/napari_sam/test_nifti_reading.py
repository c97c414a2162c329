"""NIfTI volumes of any orientation, read lazily, agree with nibabel voxel by voxel."""

import gzip
import pickle
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.files.medical import stored_values
from napari_sam.files.medical.nifti import open_nifti
from napari_sam.scene import open_scene

nibabel = pytest.importorskip("nibabel")
RAS_TO_LPS = np.array([-1, -1, 1])


def whole(source):
    return source.levels[0][tuple(slice(None) for _ in source.levels[0].shape)]


def write(path, values, affine=None, **header):
    image = nibabel.Nifti1Image(values, np.diag([2, 3, 4, 1]) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_all_orientations_agree_with_nibabel(tmp_path, axes, ending):
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    for signs in product((1, -1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[list(axes)].T * np.array(signs) * (2, 3, 4)
        affine[:3, 3] = (7, -8, 9)
        path = write(tmp_path / f"a{ending}", values, affine)
        source = open_nifti(path)
        assert [source.grid.ends(n) for n in range(3)] == [("S", "I"), ("A", "P"), ("R", "L")]
        volume = whole(source)
        np.testing.assert_array_equal(source.grid.to_stored(volume), values)
        for index in ((0, 0, 0), (1, 2, 3), (3, 4, 5)):
            place = source.grid.to_patient(np.argwhere(volume == values[index]))[0]
            expected = nibabel.affines.apply_affine(affine, index) * RAS_TO_LPS
            np.testing.assert_allclose(place, expected)
        assert source.depth == source.grid.spacing[0]
        assert source.pixel_size.unit == "millimeter"


def test_time_colours_scale_and_units(tmp_path):
    values = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(2, 3, 4, 5)
    series = open_nifti(write(tmp_path / "t.nii", values, xyzt_units=3))  # micrometres
    assert (series.axes, series.levels[0].shape) == ("TZYX", (5, 4, 3, 2))
    assert series.depth == pytest.approx(0.004)
    np.testing.assert_array_equal(series.grid.to_stored(whole(series)), np.moveaxis(values, 3, 0))
    np.testing.assert_array_equal(series.levels[0][2, 1, :, 0:1], whole(series)[2, 1, :, 0:1])
    np.testing.assert_array_equal(series.levels[0][1:4, 2], whole(series)[1:4, 2])
    assert open_scene(tmp_path / "t.nii", t=3, z=2).read(0, slice(0, 3), slice(0, 2)).tolist() == (
        whole(series)[3, 2][..., None].tolist()
    )

    colours = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    colours["G"] = np.arange(24).reshape(2, 3, 4)
    picture = open_nifti(write(tmp_path / "c.nii", colours))
    assert (picture.axes, picture.channel_names) == ("ZYXS", ("red", "green", "blue"))
    green = whole(picture)[..., 1]
    np.testing.assert_array_equal(picture.grid.to_stored(green), colours["G"])

    image = nibabel.Nifti1Image(values[..., 0], np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    image.header["cal_min"], image.header["cal_max"] = -3, 20
    nibabel.save(image, tmp_path / "s.nii.gz")
    scaled = open_nifti(tmp_path / "s.nii.gz")
    assert scaled.levels[0].dtype == np.float32
    expected = np.asanyarray(nibabel.load(tmp_path / "s.nii.gz").dataobj)
    np.testing.assert_allclose(scaled.grid.to_stored(whole(scaled)), expected)
    assert (scaled.windows[0].low, scaled.windows[0].high) == (-3, 20)


def test_big_endian_and_nifti_2(tmp_path):
    values = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4), header), tmp_path / "b.nii")
    source = open_nifti(tmp_path / "b.nii")
    np.testing.assert_array_equal(source.grid.to_stored(whole(source)), values)
    nibabel.save(nibabel.Nifti2Image(values.astype("<i2"), np.eye(4)), tmp_path / "2.nii.gz")
    source = open_nifti(tmp_path / "2.nii.gz")
    np.testing.assert_array_equal(source.grid.to_stored(whole(source)), values)


def test_long_compressed_volumes_are_unpacked_into_a_file(tmp_path, monkeypatch):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    path = write(tmp_path / "a.nii.gz", values)
    monkeypatch.setattr(stored_values, "_IN_MEMORY", 8)
    source = open_nifti(path)
    np.testing.assert_array_equal(source.grid.to_stored(whole(source)), values)
    sent = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(sent.grid.to_stored(whole(sent)), values)


def test_it_is_said_where_the_place_is_not_told(tmp_path):
    path = write(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16))
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # qform_code, sform_code
    path.write_bytes(content)
    assert "does not say how it lies" in open_nifti(path).notes[0]
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4))
    image.set_sform(np.eye(4), 1)
    image.set_qform(np.diag([-1, -1, 1, 1]), 1)
    nibabel.save(image, tmp_path / "b.nii")
    assert "its sform counts" in open_nifti(tmp_path / "b.nii").notes[0]


def test_what_cannot_be_is_refused(tmp_path):
    good = write(tmp_path / "a.nii", np.zeros((4, 5, 6), np.int16))
    packed = write(tmp_path / "a.nii.gz", np.zeros((40, 50, 60), np.int16))
    for size in (0, 100, 352, 500):
        (tmp_path / "short.nii").write_bytes(good.read_bytes()[:size])
        with pytest.raises(InputError):
            open_nifti(tmp_path / "short.nii")
    (tmp_path / "short.nii.gz").write_bytes(packed.read_bytes()[:-200])
    source = open_nifti(tmp_path / "short.nii.gz")
    with pytest.raises(InputError, match="shorter than its header says"):
        source.levels[0][0]
    huge = bytearray(gzip.decompress(packed.read_bytes()))
    huge[42:48] = np.array([32000, 32000, 32000], "<i2").tobytes()
    (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(bytes(huge)))
    with pytest.raises(InputError, match="shorter than its header says"):
        open_nifti(tmp_path / "huge.nii.gz")
    write(tmp_path / "z.nii", np.zeros((2, 2, 2), np.complex64))
    with pytest.raises(InputError, match="complex"):
        open_nifti(tmp_path / "z.nii")
    write(tmp_path / "v.nii", np.zeros((2, 2, 2, 1, 3), np.float32))
    with pytest.raises(InputError, match="several values for each voxel"):
        open_nifti(tmp_path / "v.nii")
    with pytest.raises(InputError, match="no such file"):
        open_nifti(tmp_path / "gone.nii")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    made = [write(folder / name, values).read_bytes() for name in ("a.nii", "a.nii.gz")]
    nibabel.save(nibabel.Nifti2Image(values, np.eye(4)), folder / "b.nii")
    return [*made, (folder / "b.nii").read_bytes()]


@settings(max_examples=80)
@given(data=st.data())
def test_no_change_of_bytes_does_more_than_a_sentence(corpus, tmp_path_factory, data):
    content = bytearray(data.draw(st.sampled_from(corpus)))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if content:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.nii.gz"
    path.write_bytes(content)
    said = "none"
    try:
        whole(open_nifti(path))
    except InputError as error:
        said = str(error)
    assert len(said.splitlines()) == 1
