"""Reading pictures of all kinds, and refusing what is none."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from napari_sam.errors import InputError
from napari_sam.files import images
from napari_sam.files.images import read_image, stretch_limits, to_rgb_uint8

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (9, 14), dtype=np.uint8)
RGB = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (9, 14, 4), dtype=np.uint8)


def write_png16(path: Path, image: np.ndarray) -> None:
    """Write what Pillow cannot: a PNG with 16 bits for each of several channels."""
    rows, cols, channels = image.shape
    data = image.astype(">u2").reshape(rows, -1).view(np.uint8)
    data = np.concatenate([np.zeros((rows, 1), np.uint8), data], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", cols, rows, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in chunks
        )
    )


@pytest.mark.parametrize("image", [GREY, RGB, RGBA], ids=["grey", "rgb", "rgba"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_8_bit_pictures_are_read_and_kept_exactly(
    tmp_path: Path, image: np.ndarray, suffix: str
) -> None:
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(image).save(path)
    read = read_image(path)
    np.testing.assert_array_equal(read, image)
    seen = to_rgb_uint8(read)
    assert seen.shape == (9, 14, 3)
    assert seen.dtype == np.uint8
    expected = image[..., :3] if image.ndim == 3 else np.stack([image] * 3, axis=2)
    np.testing.assert_array_equal(seen, expected)


def test_jpeg(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (1, 64, 3))
    Image.fromarray(smooth).save(tmp_path / "photo.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "photo.jpg").astype(int) - smooth).max() < 6


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "really_a_tiff.png", GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "really_a_tiff.png"), GREY)


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_png_keeps_all_bits(tmp_path: Path, channels: int) -> None:
    image = RNG.integers(0, 65536, (7, 5, channels), dtype=np.uint16)
    write_png16(tmp_path / "deep.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), image)


def test_16_bit_grey_png_keeps_all_bits(tmp_path: Path) -> None:
    image = RNG.integers(0, 65536, (7, 5), dtype=np.uint16)
    Image.fromarray(image).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), image)


def test_16_bit_grey_png_with_transparency_is_refused(tmp_path: Path) -> None:
    write_png16(tmp_path / "deep.png", RNG.integers(0, 9, (7, 5, 2), dtype=np.uint16))
    with pytest.raises(InputError, match="without transparency"):
        read_image(tmp_path / "deep.png")


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "I", "F"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pillow_modes_become_grey_or_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    if suffix == ".png" and mode in ("CMYK", "F", "I"):
        suffix = ".tif"
    source = Image.fromarray(RGB).convert("L" if mode in ("LA", "I", "F") else "RGB").convert(mode)
    source.save(tmp_path / f"picture{suffix}")
    seen = to_rgb_uint8(read_image(tmp_path / f"picture{suffix}"))
    assert seen.shape == (9, 14, 3)
    if mode in ("1", "P", "CMYK"):
        np.testing.assert_array_equal(seen, np.asarray(source.convert("RGB")))
    if mode == "LA":
        np.testing.assert_array_equal(seen[..., 0], np.asarray(source.getchannel("L")))


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">f4"]
)
@pytest.mark.parametrize("shape", [(9, 14), (9, 14, 3), (9, 14, 4)])
def test_tiff_of_every_dtype(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    image = (np.arange(np.prod(shape)).reshape(shape) % 100).astype(dtype)
    photometric = "minisblack" if len(shape) == 2 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", image, photometric=photometric)
    read = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(read, image)
    seen = to_rgb_uint8(read)
    assert seen.shape == (9, 14, 3)
    assert seen.min() == 0
    assert seen.max() == (image.reshape(9, 14, -1)[..., :3].max() if dtype == "u1" else 255)


def test_tiff_of_one_bit(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY > 99, photometric="minisblack")
    np.testing.assert_array_equal(
        to_rgb_uint8(read_image(tmp_path / "a.tif"))[..., 0], (GREY > 99) * 255
    )


def test_planar_rgb_and_single_axes_are_put_right(tmp_path: Path) -> None:
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif"), RGB)
    tifffile.imwrite(tmp_path / "one.tif", GREY[None, None], imagej=True)
    np.testing.assert_array_equal(read_image(tmp_path / "one.tif"), GREY)


def test_white_is_zero_and_palettes_are_understood(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "w.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "w.tif"), 255 - GREY)
    palette = RNG.integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", GREY, photometric="palette", colormap=palette)
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif"), (palette.T[GREY] >> 8))


@pytest.mark.parametrize(
    ("shape", "words"),
    [((5, 9, 14), "stack of shape"), ((9, 14, 5), "5 channels"), ((2, 9, 14, 3), "stack of shape")],
)
def test_stacks_and_odd_channels_are_refused(
    tmp_path: Path, shape: tuple[int, ...], words: str
) -> None:
    planar = {"planarconfig": "contig"} if shape[-1] == 5 else {}
    tifffile.imwrite(
        tmp_path / "s.tif",
        np.zeros(shape, np.uint8),
        photometric="rgb" if shape[-1] == 3 else "minisblack",
        **planar,
    )
    with pytest.raises(InputError, match=words):
        read_image(tmp_path / "s.tif")


@pytest.mark.parametrize("channels", [2, 4, 5])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_of_microscopes_are_called_channels(
    tmp_path: Path, channels: int, kind: str
) -> None:
    path = tmp_path / "s.tif"
    stack = np.zeros((channels, 9, 14), np.uint8)
    tifffile.imwrite(path, stack, metadata={"axes": "CYX"}, **{kind: True})
    with pytest.raises(InputError) as error:
        read_image(path)
    assert str(error.value) == (
        f"{path} has {channels} channels and is not grey, RGB or RGBA: save the one or the three "
        "channels that matter as a picture of their own."
    )


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="2 frames"):
        read_image(tmp_path / "a.gif")


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((4, 5), np.complex64))
    with pytest.raises(InputError, match="complex"):
        read_image(tmp_path / "c.tif")


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("not a picture")
    for name, words in [
        ("absent.png", "no such file"),
        ("empty.png", "empty"),
        ("text.png", "not a picture"),
        ("", "folder"),
    ]:
        with pytest.raises(InputError, match=words):
            read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "raw.tif", "deflate.tif"])
def test_a_file_cut_anywhere_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    image = RNG.integers(0, 256, (60, 70), dtype=np.uint8)
    if name.endswith("tif"):
        tifffile.imwrite(
            tmp_path / name, image, compression="zlib" if name == "deflate.tif" else None
        )
    else:
        Image.fromarray(image).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for length in [1, 3, 7, 8, 9, 30, 120, 300, len(data) // 2, len(data) * 9 // 10]:
        (tmp_path / name).write_bytes(data[:length])
        with pytest.raises(InputError) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")


def test_too_many_pixels_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 9 * 14 - 1)
    for name in ("a.png", "a.tif"):
        Image.fromarray(RGB).save(tmp_path / name)
        with pytest.raises(InputError, match="million pixels"):
            read_image(tmp_path / name)
    monkeypatch.setattr(images, "MAX_PIXELS", 9 * 14)
    assert read_image(tmp_path / "a.tif").shape == (9, 14, 3)


def test_stretch_ignores_what_is_not_finite() -> None:
    image = np.linspace(0, 1, 1000, dtype=np.float32).reshape(20, 50)
    image[3, 3], image[4, 4], image[5, 5] = np.nan, np.inf, -np.inf
    seen = to_rgb_uint8(image)[..., 0]
    assert (seen[3, 3], seen[4, 4], seen[5, 5]) == (0, 255, 0)
    assert seen[0, 0] == 0
    assert seen[-1, -1] == 255
    assert abs(int(seen[10, 0]) - 128) <= 1


def test_one_stretch_for_all_channels_keeps_the_hue() -> None:
    image = np.zeros((10, 10, 3), np.uint16)
    image[:5, :, 0], image[:5, :, 1] = 4000, 1000
    assert to_rgb_uint8(image)[0, 0].tolist() == [255, 64, 0]


def test_the_fourth_channel_has_no_say_in_the_stretch() -> None:
    image = np.zeros((10, 10, 4), np.uint16)
    image[:5, :, :3], image[..., 3] = 1000, 65535
    assert to_rgb_uint8(image).max() == 255


def test_constant_and_hopeless_pictures() -> None:
    assert not to_rgb_uint8(np.full((3, 4), 7, np.uint16)).any()
    assert to_rgb_uint8(np.array([[2.5]])).shape == (1, 1, 3)
    with pytest.raises(InputError, match="no finite pixel"):
        to_rgb_uint8(np.full((3, 4), np.nan))
    with pytest.raises(InputError, match="no pixels"):
        to_rgb_uint8(np.zeros((0, 4)))


def test_a_few_bright_spots_are_not_lost() -> None:
    image = np.zeros((100, 100), np.uint16)
    image[50, 50:55] = 900
    assert stretch_limits(image) == (0, 900)
    assert to_rgb_uint8(image)[50, 52, 0] == 255


@given(
    hnp.arrays(
        dtype=st.sampled_from([np.uint16, np.int32, np.float32, np.float64]),
        shape=hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_stretching_never_reorders_pixels(image: np.ndarray) -> None:
    if image.dtype.kind == "f" and not np.isfinite(image).any():
        return
    seen = to_rgb_uint8(image)[..., 0]
    ranked = np.nan_to_num(image, nan=-np.inf).ravel() if image.dtype.kind == "f" else image.ravel()
    order = np.argsort(ranked, kind="stable")
    assert (np.diff(seen.ravel()[order].astype(int)) >= 0).all()


@given(
    st.sampled_from(["<u2", ">u2", "<i2", ">i2"]),
    st.floats(-40_000, 70_000),
    st.floats(0, 70_000),
)
def test_large_and_small_images_of_16_bits_are_stretched_alike(kind, low, width):
    """Large ones by a table, small ones by arithmetic."""
    words = np.arange(1 << 16, dtype=np.uint16).view(np.dtype(kind)).reshape(256, 256)
    large = np.tile(words, (2, 2))[:, 1:]  # not contiguous

    stretched = images.stretch_to_uint8(large, low, low + width)

    small = images.stretch_to_uint8(words, low, low + width)
    assert np.array_equal(stretched, np.tile(small, (2, 2))[:, 1:])
