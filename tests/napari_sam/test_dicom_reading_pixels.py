"""Pixels of every usual transfer syntax are what other decoders say they are."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from made_dicom import dataset, pydicom, save
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, pixel_array

from napari_sam.errors import InputError
from napari_sam.files.medical.dicom import open_dicom
from napari_sam.files.medical.dicom_headers import read_header
from napari_sam.files.medical.dicom_pixels import decode_frame

BUNDLED = [
    "693_J2KI",
    "CT_small",
    "ExplVR_BigEnd",
    "GDCMJ2K_TextGBR",
    "J2K_pixelrep_mismatch",
    "JPEG2000",
    "JPEGLSNearLossless_08",
    "JPEGLSNearLossless_16",
    "MR_small",
    "MR_small_RLE",
    "MR_small_bigendian",
    "MR_small_implicit",
    "MR_small_jp2klossless",
    "MR_small_jpeg_ls_lossless",
    "MR_small_padded",
    "SC_jpeg_no_color_transform",
    "SC_rgb_dcmtk_+eb+cr",
    "SC_rgb_dcmtk_+eb+cy+np",
    "SC_rgb_dcmtk_+eb+cy+s2",
    "SC_rgb_gdcm_KY",
    "SC_rgb_jls_lossy_line",
    "SC_rgb_jpeg_app14_dcmd",
    "SC_rgb_jpeg_dcmtk",
    "SC_rgb_jpeg_lossy_gdcm",
    "SC_rgb_rle",
    "SC_rgb_rle_2frame",
    "SC_rgb_small_odd",
    "SC_rgb_small_odd_big_endian",
    "SC_ybr_full_422_uncompressed",
    "examples_overlay",
    "examples_palette",
    "rtdose",
    "rtdose_rle",
]


@pytest.mark.parametrize("name", BUNDLED)
def test_files_of_pydicom_are_read_as_pydicom_reads_them(name):
    path = get_testdata_file(f"{name}.dcm", download=False)
    if path is None:
        pytest.skip("pydicom is here without this file")
    form = read_header(Path(path)).frames[0].form
    for number in {0, form.frames - 1}:
        try:
            expected = pixel_array(path, index=number)
        except RuntimeError:
            pytest.skip("pydicom has no decoder for it here")
        if form.palette is not None:
            expected = apply_color_lut(expected, pydicom.dcmread(path)) >> 8
        np.testing.assert_array_equal(decode_frame(form, number), expected)


def compressed(path, pixels, syntax, encoded, **more):
    data = dataset(pixels, (0, 0, 0), **more)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([encoded])
    data["PixelData"].VR = "OB"
    return save(data, path)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uid.JPEGLosslessSV1, lambda a: imagecodecs.ljpeg_encode(a, bitspersample=12)),
        (uid.JPEGLSLossless, imagecodecs.jpegls_encode),
        (uid.JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, level=0, codecformat="j2k")),
        (uid.JPEGExtended12Bit, lambda a: imagecodecs.jpeg8_encode(a, 100, bitspersample=12)),
    ],
)
def test_grey_slices_of_12_bits(tmp_path, syntax, encode):
    rows, cols = np.mgrid[:32, :40]
    pixels = (rows * 100 + cols).astype(np.uint16)
    path = compressed(tmp_path / "a.dcm", pixels, syntax, encode(pixels), BitsStored=12, HighBit=11)
    read = open_dicom(path).levels[0][0]
    tolerance = 20 if syntax == uid.JPEGExtended12Bit else 0
    np.testing.assert_allclose(read.astype(int), pixels, atol=tolerance)
    assert read.dtype == np.uint16


def test_negative_values_survive_compression(tmp_path):
    rows, cols = np.mgrid[:32, :40]
    pixels = (rows * 60 + cols - 1000).astype(np.int16)
    encoded = imagecodecs.jpegls_encode(pixels.view(np.uint16) & 0xFFF)
    path = compressed(
        tmp_path / "a.dcm", pixels, uid.JPEGLSLossless, encoded, BitsStored=12, HighBit=11
    )
    np.testing.assert_array_equal(open_dicom(path).levels[0][0], pixels)


def test_deflated_and_big_endian_files(tmp_path):
    pixels = np.arange(48, dtype=np.int16).reshape(6, 8) - 20
    data = dataset(pixels, (0, 0, 0))
    data.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(open_dicom(save(data, tmp_path / "a.dcm")).levels[0][0], pixels)
    data = dataset(pixels, (0, 0, 0))
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    data.PixelData = pixels.astype(">i2").tobytes()
    path = tmp_path / "b.dcm"
    pydicom.dcmwrite(path, data, little_endian=False, implicit_vr=False)
    np.testing.assert_array_equal(open_dicom(path).levels[0][0], pixels)


def test_a_stream_of_another_size_than_the_header_is_not_made_room_for(tmp_path):
    pixels = np.zeros((16, 16), np.uint16)
    encoded = bytearray(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k"))
    encoded[8:16] = (60000).to_bytes(4, "big") * 2
    path = compressed(tmp_path / "a.dcm", pixels, uid.JPEG2000Lossless, bytes(encoded))
    source = open_dicom(path)
    with pytest.raises(InputError, match="another size than it says"):
        source.levels[0][0]
