"""A series of DICOM files is the volume that its positions say it is."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations, product

import numpy as np
import pytest
from made_dicom import AXIAL, Dataset, dataset, pixels_at, save, series, value_of

from napari_sam.errors import InputError
from napari_sam.files.medical.dicom import dicom_parts, is_dicom, open_dicom
from napari_sam.files.medical.nifti import open_nifti
from napari_sam.scene import open_scene

HEIGHTS = [-10, -8, -6, -4, -2]  # 2 mm apart, SliceThickness says 9


def at(heights, x=-3, y=-5):
    return [(x, y, z) for z in heights]


def all_in_place(source):
    """Every voxel of the source says where it lies, and lies there."""
    volume = np.asarray(source.levels[0][tuple(slice(None) for _ in source.levels[0].shape)])
    places = source.grid.to_patient(np.argwhere(np.ones(volume.shape)))
    np.testing.assert_array_equal(volume.ravel(), value_of(places))


def test_slices_are_sorted_by_their_positions_and_nothing_else(tmp_path):
    source = open_dicom(series(tmp_path, at(HEIGHTS), spacing=(2, 1)))
    assert (source.axes, source.levels[0].shape) == ("ZYX", (5, 6, 8))
    assert source.depth == 2
    assert (source.pixel_size.rows, source.pixel_size.cols) == (2, 1)
    assert source.pixel_size.unit == "millimeter"
    assert source.grid.frame_of_reference == "1.2.3.9"
    assert [source.grid.ends(axis) for axis in range(3)] == [("S", "I"), ("A", "P"), ("R", "L")]
    all_in_place(source)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_slices_made_in_any_direction_keep_every_voxel_in_place(tmp_path, axes):
    for number, signs in enumerate(product((1, -1), repeat=3)):
        directions = np.eye(3)[list(axes)] * np.array(signs)[:, None]
        across, down, through = directions
        orientation = [*across, *down]
        positions = [through * 3 * step + (1, 2, 3) for step in range(4)]
        source = open_dicom(series(tmp_path / str(number), positions, orientation, (2, 1)))
        assert [source.grid.ends(axis) for axis in range(3)] == [
            ("S", "I"),
            ("A", "P"),
            ("R", "L"),
        ]
        all_in_place(source)
        axis = ["z", "y", "x"].index(source.grid.anatomical("axial"))
        assert axis == 0
        # Windows of it, as a Scene and napari ask for them.
        whole = source.levels[0][:, :, :]
        np.testing.assert_array_equal(source.levels[0][1, 0:2, 1:3], whole[1, :2, 1:3])
        np.testing.assert_array_equal(source.levels[0][::-2, 1], whole[::-2, 1])
        assert source.levels[0][1:1].shape == whole[1:1].shape


def test_it_is_said_how_slices_were_made_where_they_are_not_axial(tmp_path):
    sagittal = series(tmp_path, [(x, 0, 0) for x in range(3)], (0, 1, 0, 0, 0, -1))
    assert "Its slices were made sagittal: they are seen when it is looked along x." in (
        open_dicom(sagittal).notes
    )


def test_missing_slices_are_empty_and_told_of(tmp_path):
    source = open_dicom(series(tmp_path, at([-10, -8, -2, 0, 2])))
    assert source.levels[0].shape[0] == 7
    assert "2 of 7 slices are missing" in source.notes[0]
    assert source.nodata == np.iinfo(np.int16).min
    volume = source.levels[0][:]
    empty = [number for number in range(7) if (volume[number] == source.nodata).all()]
    assert empty == [3, 4]  # from the head
    for number in {0, 1, 2, 5, 6}:
        places = np.argwhere(np.ones(volume.shape))
        places = places[places[:, 0] == number]
        np.testing.assert_array_equal(
            volume[number].ravel(), value_of(source.grid.to_patient(places))
        )


def test_the_same_slice_twice_counts_once(tmp_path):
    series(tmp_path, at(HEIGHTS))
    first = min(tmp_path.iterdir())
    (tmp_path / "copy.dcm").write_bytes(first.read_bytes())
    # Sent again under another name.
    again = dataset(pixels_at((-3, -5, -6)), (-3, -5, -6), AXIAL)
    save(again, tmp_path / "again")
    source = open_dicom(tmp_path)
    assert source.levels[0].shape == (5, 6, 8)
    assert "2 slices are there several times and count once." in source.notes
    all_in_place(source)


def test_several_slices_at_each_place_are_times(tmp_path):
    for height, (number, echo) in product(HEIGHTS, enumerate((90.5, 30.0, 60.0))):
        pixels = np.full((6, 8), height * 100 + number, np.int16)
        data = dataset(pixels, (0, 0, height), EchoTime=echo, InstanceNumber=7 - number)
        save(data, tmp_path / f"{number}{-height}")
    source = open_dicom(tmp_path)
    assert (source.axes, source.levels[0].shape) == ("TZYX", (3, 5, 6, 8))
    assert [int(source.levels[0][t, 0, 0, 0]) for t in range(3)] == [-199, -198, -200]
    assert "There are 3 slices at each place" in source.notes[0]
    assert "echo time" in source.notes[0]
    np.testing.assert_array_equal(
        source.levels[0][1, 1:3, 2:4, :], source.levels[0][:][1, 1:3, 2:4]
    )
    (next(tmp_path.glob("0*"))).unlink()
    with pytest.raises(InputError, match="2 to 3 different slices at one place"):
        open_dicom(tmp_path)


def test_slices_that_are_no_grid_are_refused(tmp_path):
    with pytest.raises(InputError, match="irregular distances"):
        open_dicom(series(tmp_path / "a", at([-10, -8, -6.6, -4, -2])))
    shifted = [(0, 0, 0), (0, 3, 2), (0, 0, 4), (0, 3, 6)]
    with pytest.raises(InputError, match="shifted sideways irregularly"):
        open_dicom(series(tmp_path / "b", shifted))


def test_a_tilted_gantry_is_kept_as_it_is(tmp_path):
    source = open_dicom(series(tmp_path, [(0, 2 * n, 4 * n) for n in range(4)]))
    assert source.depth == pytest.approx(4)
    assert "tilted by 26.6 degrees" in source.notes[0]
    all_in_place(source)


def test_one_series_of_several_is_chosen(tmp_path):
    series(tmp_path / "A", at(HEIGHTS))
    series(
        tmp_path / "B",
        at(HEIGHTS[:3]),
        shape=(4, 4),
        SeriesInstanceUID="1.2.3.5",
        SeriesNumber=12,
        Modality="CT",
        SeriesDescription="lung",
    )
    (tmp_path / "readme.txt").write_text("no image")
    (tmp_path / "A" / "damaged").write_bytes(b"\0" * 128 + b"DICM" + b"\x08\x00\x05\x00CSxx")
    with pytest.raises(InputError) as refused:
        open_dicom(tmp_path)
    assert "2 volumes" in str(refused.value)
    assert "part='4' (MR, t1 made, 8 x 6, 5 slices)" in str(refused.value)
    assert "part='12' (CT, lung, 4 x 4, 3 slices)" in str(refused.value)
    assert dicom_parts(tmp_path) == ("4", "12")
    assert open_dicom(tmp_path, "12").levels[0].shape == (3, 4, 4)
    with pytest.raises(InputError, match="no part='7'"):
        open_dicom(tmp_path, "7")
    # A file brings its series.
    file = next(path for path in (tmp_path / "A").iterdir() if path.name != "damaged")
    source = open_dicom(file)
    assert source.levels[0].shape == (5, 6, 8)
    assert is_dicom(tmp_path)
    assert is_dicom(file)
    assert not is_dicom(tmp_path / "readme.txt")


def test_a_localiser_in_a_series_is_a_part_of_its_own(tmp_path):
    series(tmp_path, at(HEIGHTS))
    across = (0, 1, 0, 0, 0, -1)
    save(dataset(pixels_at((0, 0, 0), across), (0, 0, 0), across), tmp_path / "scout")
    assert dicom_parts(tmp_path) == ("4.1", "4.2")
    sizes = sorted(open_dicom(tmp_path, part).levels[0].shape for part in dicom_parts(tmp_path))
    assert sizes == [(1, 6, 8), (5, 6, 8)]
    scout = open_dicom(tmp_path / "scout")
    assert scout.levels[0].shape == (1, 6, 8)
    all_in_place(scout)


def test_values_are_rescaled_slice_by_slice(tmp_path):
    for number in range(3):
        pixels = np.full((4, 4), 100, np.uint16)
        more = {"RescaleSlope": 0.5 + number, "RescaleIntercept": number}
        save(dataset(pixels, (0, 0, number), **more), tmp_path / str(number))
    source = open_dicom(tmp_path)
    assert source.levels[0].dtype == np.float32
    assert source.levels[0][::-1, 0, 0].tolist() == [50, 151, 252]


def test_whole_hounsfield_units_stay_whole_numbers_and_have_windows(tmp_path):
    pixels = np.array([[0, 1024], [4095, 24]], np.uint16)
    more = {
        "Modality": "CT",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "BitsStored": 12,
        "HighBit": 11,
        "WindowCenter": [40, 300],
        "WindowWidth": [300, 1500],
        "PixelPaddingValue": 0,
    }
    # Bits above those stored are none of the value.
    data = dataset(pixels | 0xF000, (0, 0, 0), **more)
    save(data, tmp_path / "a")
    save(dataset(pixels, (0, 0, 1), **more), tmp_path / "b")
    source = open_dicom(tmp_path)
    assert source.levels[0].dtype == np.int16
    for number in range(2):
        assert source.levels[0][number].tolist() == [[-1024, 0], [3071, -1000]]
    assert source.nodata == -1024
    first, *others = source.windows
    assert (first.low, first.high) == (-110, 189)  # DICOM's formula for the first preset
    assert [window.name for window in others] == ["window 2", "soft tissue", "lung", "bone"]
    scene = open_scene(tmp_path)
    assert scene.normalisation.low[0] == -110


def test_negatives_are_turned_round_with_their_windows(tmp_path):
    pixels = np.array([[0, 1000], [4095, 10]], np.uint16)
    path = save(
        dataset(
            pixels,
            None,
            spacing=None,
            PhotometricInterpretation="MONOCHROME1",
            BitsStored=12,
            HighBit=11,
            Modality="CR",
            WindowCenter=1000,
            WindowWidth=401,
            ImagerPixelSpacing=[0.2, 0.1],
        ),
        tmp_path / "xray.dcm",
    )
    source = open_dicom(path)
    assert source.axes == "YX"
    assert source.levels[0][:].tolist() == [[4095, 3095], [0, 4085]]
    (window,) = source.windows
    assert (window.low, window.high) == (4095 - 1199.5, 4095 - 799.5)
    assert (source.pixel_size.rows, source.pixel_size.cols) == (0.2, 0.1)
    assert source.grid is None
    assert any("detector" in note for note in source.notes)
    assert any("MONOCHROME1" in note for note in source.notes)


def enhanced(path, frames, heights, times=None):
    """A file of frames, each with its place in a functional group of its own."""
    data = dataset(frames[0], NumberOfFrames=len(frames), spacing=None)
    data.PixelData = np.stack(frames).tobytes()
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [1, 1]
    plane.ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    data.SharedFunctionalGroupsSequence = [shared]
    each = []
    for height, time in zip(heights, times or [1] * len(heights), strict=True):
        group, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [0, 0, height]
        content.TemporalPositionIndex = time
        group.PlanePositionSequence, group.FrameContentSequence = [position], [content]
        each.append(group)
    data.PerFrameFunctionalGroupsSequence = each
    return save(data, path)


def test_frames_of_one_file_with_a_place_each_are_a_volume(tmp_path):
    heights = [4, 0, 2]
    path = enhanced(tmp_path / "a", [pixels_at((0, 0, z)) for z in heights], heights)
    source = open_dicom(path)
    assert (source.axes, source.levels[0].shape, source.depth) == ("ZYX", (3, 6, 8), 2)
    all_in_place(source)


def test_frames_of_one_file_at_several_times(tmp_path):
    times, heights = [2, 2, 2, 1, 1, 1], [4, 0, 2, 4, 0, 2]
    frames = [np.full((6, 8), 100 * t + z, np.int16) for t, z in zip(times, heights, strict=True)]
    source = open_dicom(enhanced(tmp_path / "a", frames, heights, times))
    assert source.axes == "TZYX"
    assert source.levels[0][:, :, 0, 0].tolist() == [[104, 102, 100], [204, 202, 200]]
    assert "in the order of their time." in source.notes[0]


def test_pictures_without_a_place_are_times_in_colour(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (4, 5, 6, 3), np.uint8)
    data = dataset(frames[0], spacing=None, NumberOfFrames=4, Modality="US")
    data.PixelData = frames.tobytes()
    source = open_dicom(save(data, tmp_path / "us.dcm"))
    assert (source.axes, source.channel_names) == ("TYXS", ("red", "green", "blue"))
    np.testing.assert_array_equal(source.levels[0][:], frames)
    assert any("4 pictures" in note for note in source.notes)
    assert open_scene(tmp_path / "us.dcm", t=2).read(0, slice(1, 3), slice(2, 4)).tolist() == (
        frames[2, 1:3, 2:4].tolist()
    )


def test_it_is_read_in_other_processes_and_from_many_threads(tmp_path):
    source = open_dicom(series(tmp_path, at(HEIGHTS)))
    sent = pickle.loads(pickle.dumps(source))
    whole = source.levels[0][:]
    np.testing.assert_array_equal(sent.levels[0][:], whole)
    again = pickle.loads(pickle.dumps(source)).levels[0]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda n: (n, again[n % 5, :, n % 8]), range(200)))
    for number, column in read:
        np.testing.assert_array_equal(column, whole[number % 5, :, number % 8])


def test_a_file_that_is_gone_is_a_sentence_when_it_is_read(tmp_path):
    source = open_dicom(series(tmp_path, at(HEIGHTS)))
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no such file any more"):
        source.levels[0][2]


def test_a_real_series_and_its_labels_lie_on_one_grid(shared):
    medical = shared / "devdata" / "medical"
    ct, labels = open_dicom(medical / "ct_dicom"), open_nifti(medical / "ct_dicom_labels.nii.gz")
    assert ct.levels[0].shape == labels.levels[0].shape == (20, 512, 512)
    assert ct.depth == 2  # and the thickness of its slices is 3
    np.testing.assert_allclose(ct.grid.matrix, labels.grid.matrix, atol=1e-4)
    values, liver = ct.levels[0][10], labels.levels[0][10] == 5
    assert liver.sum() > 1000
    assert 80 < values[liver].mean() < 100  # HU of a liver with contrast agent
    assert values[liver].std() < 30
    assert [window.name for window in ct.windows][2:] == ["soft tissue", "lung", "bone"]
