"""Whole slides become scenes with their levels and sizes, without labels and macros."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_slides import tissue, write_ndpi, write_philips, write_scn, write_svs

from napari_sam.errors import InputError
from napari_sam.scene import PixelSize, open_scene
from napari_sam.scenes.tiff_images import tiff_parts

FULL = tissue(1111, 1503)
ALL = slice(None)


@pytest.mark.parametrize(
    ("compression", "off"), [("jpeg", 4), (33003, 0), (33005, 0)], ids=["jpeg", "33003", "33005"]
)
def test_a_slide_of_aperio(tmp_path: Path, compression: str | int, off: int) -> None:
    path = tmp_path / "slide.svs"
    write_svs(path, FULL, compression=compression)
    scene = open_scene(path)
    assert scene.channels == ("red", "green", "blue")
    assert scene.pixel_size == PixelSize(0.2527, 0.2527, "micrometer")
    assert [level.downsample for level in scene.levels if level.stored] == [1, 4, 16]
    for level, factor in ((0, 1), (2, 4)):
        window = slice(20, 200), slice(30, 250)
        read = scene.read(level, *window).astype(int)
        assert np.abs(read - FULL[::factor, ::factor][window]).max() <= off


def test_it_is_what_tiffslide_reads(tmp_path: Path) -> None:
    tiffslide = pytest.importorskip("tiffslide")
    path = tmp_path / "slide.svs"
    write_svs(path, FULL)
    scene = open_scene(path)
    with tiffslide.TiffSlide(path) as slide:
        assert slide.level_dimensions[0] == scene.shape[::-1]
        assert slide.properties["tiffslide.mpp-x"] == scene.pixel_size.cols  # type: ignore[union-attr]
        for number, level in enumerate((0, 2, 4)):
            cols, rows = slide.level_dimensions[number]
            theirs = np.asarray(slide.read_region((0, 0), number, (cols, rows)))[..., :3]
            np.testing.assert_array_equal(scene.read(level, slice(0, rows), slice(0, cols)), theirs)


def test_a_slide_without_a_size(tmp_path: Path) -> None:
    write_svs(tmp_path / "slide.svs", FULL[:300, :300], mpp=None, factors=())
    assert open_scene(tmp_path / "slide.svs").pixel_size is None


def test_scans_of_leica_are_parts(tmp_path: Path) -> None:
    path = tmp_path / "slide.scn"
    scans = [tissue(200, 260, 1), tissue(180, 240, 2)]
    write_scn(path, scans)
    assert tiff_parts(path) == ("scan 0", "scan 1")
    scene = open_scene(path, part="scan 1")
    assert scene.pixel_size == PixelSize(0.5, 0.5, "micrometer")
    assert [level.downsample for level in scene.levels if level.stored] == [1, 4]
    np.testing.assert_array_equal(scene.read(0, ALL, ALL), scans[1])
    with pytest.raises(InputError, match="choose one with part='scan 0' or part='scan 1'"):
        open_scene(path)
    write_scn(path, scans[:1])
    np.testing.assert_array_equal(open_scene(path).read(0, ALL, ALL), scans[0])


def test_a_slide_of_hamamatsu(tmp_path: Path) -> None:
    path = tmp_path / "slide.ndpi"
    full = tissue(512, 1024)
    write_ndpi(path, full)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.chunks == (8, 64, 3)  # a strip of all of it, read in parts
    scene = open_scene(path)
    assert scene.pixel_size == PixelSize(0.25, 0.25, "micrometer")
    assert [level.downsample for level in scene.levels if level.stored] == [1, 2]
    for level, step in ((0, 1), (1, 2)):
        read = scene.read(level, slice(50, 200), slice(60, 300)).astype(int)
        assert np.abs(read - full[::step, ::step][50:200, 60:300]).max() <= 5


def test_a_slide_of_philips(tmp_path: Path) -> None:
    write_philips(tmp_path / "slide.tiff", FULL[:1024, :1024], (0.000226, 0.000227))
    scene = open_scene(tmp_path / "slide.tiff")
    assert scene.pixel_size == PixelSize(0.226, 0.227, "micrometer")
    assert [level.downsample for level in scene.levels if level.stored] == [1, 2]


@pytest.mark.parametrize(("per_cm", "told"), [(40_000.0, 0.25), (118.0, None)])
def test_a_pyramid_of_a_microscope_is_no_print(
    tmp_path: Path, per_cm: float, told: float | None
) -> None:
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as writer:
        for subifds, step in ((1, 1), (0, 2)):
            writer.write(
                FULL[::step, ::step],
                tile=(256, 256),
                photometric="rgb",
                subifds=subifds,
                subfiletype=int(step > 1),
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                metadata=None,
            )
    size = open_scene(path).pixel_size
    assert (None if size is None else size.rows) == told


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "slide.svs"
    write_svs(path, FULL[:300, :300], factors=(4,))
    return path


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_damaged_slides_are_told(slide: Path, data: st.DataObject) -> None:
    content = bytearray(slide.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    else:
        with tifffile.TiffFile(slide) as tiff:
            tags = [tag.offset for page in tiff.pages for tag in page.tags]  # type: ignore[union-attr]
        near = st.integers(0, 15) | st.sampled_from(tags).flatmap(
            lambda tag: st.integers(tag, tag + 19)
        )
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(near)] = data.draw(st.integers(0, 255))
    damaged = slide.with_name("damaged.svs")
    damaged.write_bytes(content)
    with contextlib.suppress(InputError):
        open_scene(damaged).read(0, slice(0, 1), slice(0, 1))
