"""`napari-sam propagate`: an object of one plane is followed, and leaves as labels of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam.cli import main

PLANES, SIDE = 4, 90


def stack() -> tuple[np.ndarray, np.ndarray]:
    rows, cols = np.ogrid[:SIDE, :SIDE]
    truth = np.stack([np.hypot(rows - 40, cols - 35 - 5 * z) < 13 for z in range(PLANES)])
    noise = np.random.default_rng(0).normal(0, 5, truth.shape)
    return (np.where(truth, 180, 80) + noise).astype(np.uint8), truth


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, stack()[0], metadata={"axes": "ZYX"}, ome=True)
    return path


def test_a_box_in_one_plane_gives_labels_of_all(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.tif"
    asked = ["propagate", str(image), "--z", "1", "--box", "27,27,53,53", "--store"]
    assert main([*asked, str(tmp_path / "kept"), "-o", str(labels)]) == 0
    said = capsys.readouterr().out
    assert f"object 1: {PLANES} planes, z = 0 to {PLANES - 1}" in said
    assert "forward: the last plane was reached" in said
    found = tifffile.imread(labels)
    truth = stack()[1]
    assert found.shape == truth.shape
    assert 2 * (truth & (found == 1)).sum() > 0.9 * (truth.sum() + (found > 0).sum())
    stores = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert stores == [f"t0-z{z}.embeddings" for z in range(PLANES)]
    # What was encoded is used again, and no more planes than asked for are looked at.
    assert main([*asked, str(tmp_path / "kept"), "--planes", "1", "-o", str(labels)]) == 0
    assert tifffile.imread(labels).any(axis=(1, 2)).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--box", "27,27,53,53"], "has 4 planes: say with --z in which one"),
        (["--z", "9", "--box", "27,27,53,53"], "z"),
        (["--z", "1"], "Say what to segment"),
        (["--z", "1", "--box", "27,27,53,530"], "reaches outside the image"),
        (["--z", "1", "--box", "27,27,53,53", "--through", "t"], "no several times"),
        (["--z", "1", "--box", "27,27,53,53", "--planes", "0"], "--planes must be 1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    assert main(["propagate", str(image), *arguments, "-o", str(tmp_path / "out.tif")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.tif").exists()
