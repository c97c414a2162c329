"""NRRD and MetaImage as SimpleITK writes them lie where it says; damage is a sentence."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.errors import InputError
from napari_sam.files.medical.metaimage import open_metaimage
from napari_sam.files.medical.nrrd import open_nrrd

itk = pytest.importorskip("SimpleITK")
ENDINGS = (".nrrd", ".mha", ".mhd", ".nhdr")


def open_itk(path):
    return (open_metaimage if path.suffix in (".mha", ".mhd") else open_nrrd)(path)


def whole(source):
    return np.asarray(source.levels[0][tuple(slice(None) for _ in source.levels[0].shape)])


def image(values, **more):
    made = itk.GetImageFromArray(values, **more)
    if made.GetDimension() == 3:
        made.SetSpacing((1, 2, 3))
        made.SetOrigin((10, 20, 30))
        made.SetDirection((0, -1, 0, 0, 0, 1, -1, 0, 0))
    return made


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("packed", [True, False])
def test_every_voxel_is_where_itk_has_it(tmp_path, ending, packed):
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    made = image(values)
    itk.WriteImage(made, tmp_path / f"a{ending}", useCompression=packed)
    source = open_itk(tmp_path / f"a{ending}")
    assert [source.grid.ends(n) for n in range(3)] == [("S", "I"), ("A", "P"), ("R", "L")]
    volume = whole(source)
    np.testing.assert_array_equal(source.grid.to_stored(volume), values)
    for z, y, x in ((0, 0, 0), (1, 2, 3), (3, 4, 5)):
        place = source.grid.to_patient(np.argwhere(volume == values[z, y, x]))[0]
        expected = made.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose(place, expected, atol=1e-6)
    np.testing.assert_array_equal(whole(pickle.loads(pickle.dumps(source))), volume)


def test_colours_time_and_pictures(tmp_path):
    colours = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    itk.WriteImage(image(colours, isVector=True), tmp_path / "c.nrrd")
    source = open_itk(tmp_path / "c.nrrd")
    assert (source.axes, source.channel_names) == ("ZYXS", ("red", "green", "blue"))
    red = whole(source)[..., 0]
    np.testing.assert_array_equal(source.grid.to_stored(red), colours[..., 0])
    itk.WriteImage(image(np.zeros((2, 3, 4, 5), np.float32), isVector=False), tmp_path / "t.mha")
    assert open_itk(tmp_path / "t.mha").axes == "TZYX"
    itk.WriteImage(image(np.zeros((4, 5), np.float32)), tmp_path / "p.mha")
    assert open_itk(tmp_path / "p.mha").axes == "YX"


def test_pixels_outside_of_the_folder_are_not_read(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    itk.WriteImage(image(np.zeros((4, 5, 6), np.int16)), inside / "a.mhd")
    (inside / "a.raw").rename(tmp_path / "a.raw")
    with pytest.raises(InputError, match="not there"):
        open_itk(inside / "a.mhd")
    header = (inside / "a.mhd").read_text().replace("a.raw", "../a.raw")
    (inside / "a.mhd").write_text(header)
    with pytest.raises(InputError, match="outside of its folder"):
        open_itk(inside / "a.mhd")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    made = image(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    content = {}
    for ending, packed in ((".nrrd", True), (".nrrd", False), (".mha", True), (".mha", False)):
        itk.WriteImage(made, folder / f"a{ending}", useCompression=packed)
        content[ending, packed] = (folder / f"a{ending}").read_bytes()
    return content


@settings(max_examples=60)
@given(data=st.data())
def test_no_change_of_bytes_does_more_than_a_sentence(corpus, tmp_path_factory, data):
    kind = data.draw(st.sampled_from(sorted(corpus)))
    content = bytearray(corpus[kind])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    for _ in range(data.draw(st.integers(0, 5))):
        if content:
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"mutated{kind[0]}"
    path.write_bytes(content)
    said = "none"
    try:
        whole(open_itk(path))
    except InputError as error:
        said = str(error)
    assert len(said.splitlines()) == 1
