"""Everything in a volume, with a network that sees perfectly, or vit_nano."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_volumes_seen import SHAPE, balls, pixels, see

from napari_sam.errors import InputError
from napari_sam.segment.everything import Thresholds, running
from napari_sam.segment.volumes import VolumeProgress, VolumeResult, Volumes, segment_volume
from src_model import Sam

LABELS = balls()
IMAGE = pixels(LABELS)
ASKED = {
    "options": {"axes": "ZYX", "pixel_size": (0.5, 0.5, "millimeter")},
    "sizes": (8, None),
    "thresholds": Thresholds(0.8, 0.8),
    "depth": 2.0,
}


def find(folder: Path, sam: Sam, **options: object) -> VolumeResult:
    return segment_volume(IMAGE, folder, sam, **{**ASKED, **options})  # type: ignore[arg-type]


def alike(labels: np.ndarray, truth: np.ndarray) -> bool:
    """Whether each true object is one, about, and nothing else is there."""
    if len(np.unique(labels)) != len(np.unique(truth)):
        return False
    for number in np.unique(truth)[1:]:
        mask = truth == number
        found = labels == np.bincount(labels[mask]).argmax()
        if np.count_nonzero(found & mask) < 0.8 * np.count_nonzero(found | mask):
            return False
    return True


def painted(result: VolumeResult) -> np.ndarray:
    assert result.labelled is not None
    return result.labelled.volume()


def test_objects_are_found_once_with_all_that_is_known_of_them(
    tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, LABELS)
    told: list[VolumeProgress] = []
    result = find(tmp_path, tiny_sam, model="perfect", on_progress=told.append)
    labels = painted(result)
    assert alike(labels, LABELS)
    labelled = result.labelled
    assert labelled is not None
    assert labelled.axes == "ZYX"
    assert [row["id"] for row in labelled.table] == [1, 2, 3]
    for row in labelled.table:
        there = labels == row["id"]
        count = np.count_nonzero(there)
        assert row["volume_voxels"] == count
        assert row["volume"] == pytest.approx(count * 0.5)
        assert row["volume_unit"] == "millimeter3"
        z, *place = np.argwhere(there).mean(0)
        assert (row["centroid_z"], row["centroid_row"], row["centroid_col"]) == pytest.approx(
            (z, *place)
        )
        slices = np.flatnonzero(there.any((1, 2)))
        assert (row["z0"], row["z1"], row["slices"]) == (slices[0], slices[-1] + 1, len(slices))
        assert row["predicted_iou"] == pytest.approx(0.9)
    assert labelled.provenance["model"] == "perfect"
    assert [progress.done for progress in told] == list(range(1, SHAPE[0] + 1))
    assert told[-1].seconds_left == 0


def test_volumes_are_filtered_in_cubes_of_a_unit(
    tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = see(monkeypatch, LABELS)
    counts = sorted(np.bincount(painted(find(tmp_path, tiny_sam)).ravel())[1:].tolist())
    halfway = (counts[0] + counts[1]) / 2
    assert len(counts) == 3
    looks.clear()
    asked = Volumes(halfway * 0.5, None, "mm")
    large = find(tmp_path, tiny_sam, volumes=asked)
    assert sorted(np.bincount(painted(large).ravel())[1:].tolist()) == counts[1:]
    assert large.removed == 1
    small = find(tmp_path, tiny_sam, volumes=Volumes(None, halfway))
    assert np.bincount(painted(small).ravel())[1:].tolist() == counts[:1]
    assert not looks  # nothing of the network
    with pytest.raises(InputError, match="how far its planes lie apart"):
        find(tmp_path, tiny_sam, volumes=asked, depth=None)
    with pytest.raises(InputError, match="smallest volume"):
        find(tmp_path, tiny_sam, volumes=Volumes(7, 3))


def test_other_thresholds_need_no_network(
    tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = see(monkeypatch, LABELS)
    find(tmp_path, tiny_sam)
    looks.clear()
    strict = find(tmp_path, tiny_sam, thresholds=Thresholds(0.95, 0.8))
    assert not painted(strict).any()
    assert not looks


def test_what_was_asked_to_stop_goes_on(
    tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = see(monkeypatch, LABELS)
    stopped = find(tmp_path, tiny_sam, should_stop=lambda: len(looks) >= 9)
    assert stopped.labelled is None
    assert 0 < stopped.left < SHAPE[0]
    result = find(tmp_path, tiny_sam)
    assert len(looks) == len(set(looks))
    whole = find(tmp_path / "at once", tiny_sam)
    np.testing.assert_array_equal(painted(result), painted(whole))


def test_damage_and_failures_are_mended(
    tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = see(monkeypatch, LABELS)
    click = running.click_tile

    def failing(ready: object, *given: object) -> object:
        if ready.scene.z == 3:  # type: ignore[attr-defined]
            raise OSError("the disk is away")
        return click(ready, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "click_tile", failing)
    result = find(tmp_path, tiny_sam)
    assert {(along, number) for along, number, _ in result.failed} == {("z", 3)}
    bridged = painted(result)
    assert len(np.unique(bridged)) == 4  # over the slice that is missing
    monkeypatch.setattr(running, "click_tile", click)
    (tmp_path / "z00005.slice").write_bytes(b"no slice")
    looks.clear()
    result = find(tmp_path, tiny_sam)
    assert {z for _, z, _ in looks} == {3}  # the damaged one is made of its candidates
    assert not result.failed
    assert alike(painted(result), LABELS)


def test_another_image_is_not_taken_for_this_one(
    tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    see(monkeypatch, LABELS)
    find(tmp_path, tiny_sam)
    with pytest.raises(InputError, match="something else"):
        segment_volume(IMAGE[::-1].copy(), tmp_path, tiny_sam, **ASKED)  # type: ignore[arg-type]


def test_three_directions_agree(
    tiny_sam: Sam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Voxels that are cubes: across thick slices the pixels would be others than the fake sees.
    grid = np.stack(np.indices((22, 24, 40)), axis=-1)
    labels = np.zeros(grid.shape[:3], np.uint32)
    for number, middle in enumerate([(10, 11, 10), (11, 12, 29)], 1):
        labels[((grid - middle) ** 2).sum(-1) <= 64] = number
    looks = see(monkeypatch, labels)
    result = segment_volume(
        pixels(labels),
        tmp_path,
        tiny_sam,
        options={"axes": "ZYX"},
        sizes=(8, None),
        thresholds=Thresholds(0.8, 0.8),
        consensus=True,
    )
    found = painted(result)
    assert {axes for axes, _, _ in looks} == {"ZYX", "YZX", "YXZ"}
    assert alike(found, labels)


def test_thick_slices_are_seen_from_the_side_with_square_pixels() -> None:
    from napari_sam.scene import open_scene
    from napari_sam.segment.volumes.sideways import rows_for_square, squared

    side = open_scene(IMAGE, axes="ZYX", along="y", z=3, pixel_size=(2.0, 0.5, "millimeter"))
    times = rows_for_square(side)
    assert times == 4
    square = squared(side, times)
    assert square.shape == (32, 96)
    assert square.pixel_size is not None
    assert (square.pixel_size.rows, square.pixel_size.cols) == (0.5, 0.5)
    np.testing.assert_array_equal(
        square.read_rgb(0, slice(3, 9), slice(5, 9))[..., 0], IMAGE[[0, 1, 1, 1, 1, 2], 3, 5:9]
    )


def test_an_image_without_depth_is_refused(tiny_sam: Sam, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no depth"):
        segment_volume(IMAGE[0], tmp_path, tiny_sam)
    with pytest.raises(InputError, match="leave z out"):
        segment_volume(IMAGE, tmp_path, tiny_sam, options={"axes": "ZYX", "z": 3})
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import pytest
import made_volumes_seen as made
from napari_sam.loading import load
from napari_sam.segment.everything import Thresholds, running
from napari_sam.segment.volumes import segment_volume

labels = made.balls()
looks = made.see(pytest.MonkeyPatch(), labels)
click = running.click_tile

def killed(*given):
    if len(looks) == 14:
        os.kill(os.getpid(), signal.SIGKILL)
    return click(*given)

running.click_tile = killed
segment_volume(made.pixels(labels), Path(sys.argv[2]), load(sys.argv[3], precision="float32"),
               options={"axes": "ZYX", "pixel_size": (0.5, 0.5, "millimeter")},
               sizes=(8, None), thresholds=Thresholds(0.8, 0.8), depth=2.0)
"""


def test_killed_amid_the_slices_it_goes_on(
    tiny_sam: Sam, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kept"
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", KILLED, here, folder, tiny_weights],
        cwd=here.parents[1],
        env={**os.environ, "PYTHONPATH": os.fspath(here.parents[1])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    before = len(list(folder.glob("*.slice")))
    assert 0 < before < SHAPE[0]
    looks = see(monkeypatch, LABELS)
    result = find(folder, tiny_sam)
    assert {z for _, z, _ in looks} == set(range(before, SHAPE[0]))
    assert alike(painted(result), LABELS)


def test_vit_nano_finds_a_nucleus_in_both_slices(tmp_path: Path) -> None:
    from PIL import Image

    import napari_sam
    from napari_sam.loading import load

    picture = np.asarray(Image.open(Path(napari_sam.__file__).parent / "samples" / "nuclei.png"))
    stack = np.stack([picture[:128, :128], picture[1:129, :128]])
    result = segment_volume(
        stack, tmp_path, load("vit_nano"), options={"axes": "ZYX"}, sizes=(28, None)
    )
    assert result.labelled is not None
    assert any(row["slices"] == 2 for row in result.labelled.table)
    inside = painted(result) > 0
    assert stack[inside].mean() > 2 * stack[~inside].mean()  # nuclei are bright
