"""`napari-sam segment` on a plane of a volume, with the objects in other formats as well."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam.cli import main
from napari_sam.provenance import ABOUT
from src_model import load_model
from src_model.weight_files import model_hash


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A bright block in dark planes 3 to 5."""
    pixels = np.full((8, 60, 90), 30, np.uint8)
    pixels[3:6, 20:45, 30:70] = 200
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, pixels, metadata={"axes": "ZYX"}, ome=True)
    return path


def test_a_plane_is_segmented_and_its_objects_leave_in_other_formats(
    volume: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, coco = tmp_path / "out", tmp_path / "elsewhere" / "objects.json"
    told = ["segment", volume, "--z", 4, "--box", "20,30,44,69", "-o", out, "--export", coco]
    assert main(list(map(str, told))) == 0
    labels = tifffile.imread(out / "stack-z4_labels.tif")
    assert labels.shape == (60, 90)
    assert (labels[20:45, 30:70] > 0).mean() > 0.8
    written = json.loads(coco.read_text())
    assert len(written["annotations"]) == 1
    assert "Apache-2.0" in coco.read_text()
    assert model_hash(load_model("vit_nano", "cpu")) in coco.read_text()
    assert str(coco) in capsys.readouterr().out


def test_a_volume_is_looked_at_from_the_side(volume: Path, tmp_path: Path) -> None:
    told = ["segment", volume, "--along", "y", "--z", 30, "--box", "2,28,6,71", "-o", tmp_path]
    assert main(list(map(str, told))) == 0
    assert tifffile.imread(tmp_path / "stack-along-y-z30_labels.tif").shape == (8, 90)


def test_a_store_of_another_plane_is_refused(
    volume: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    point = ["--point", "30,50", "--store", str(tmp_path / "one.embeddings"), "-o", str(tmp_path)]
    assert main(["segment", str(volume), "--z", "4", *point]) == 0
    labels = tmp_path / "stack-z4_labels.zarr"
    assert (
        json.loads((labels / "zarr.json").read_text())["attributes"][ABOUT]["model"] == "vit_nano"
    )
    capsys.readouterr()
    assert main(["segment", str(volume), "--z", "5", *point]) == 2
    assert "give another --store" in capsys.readouterr().err
    assert main(["segment", str(volume), "--z", "9", *point]) == 2
    assert "has no z=9" in capsys.readouterr().err


def test_what_was_segmented_says_with_what_also_when_it_is_converted(
    volume: Path, tmp_path: Path
) -> None:
    told = ["segment", volume, "--z", 4, "--box", "20,30,44,69", "-o", tmp_path]
    assert main(list(map(str, told))) == 0
    png = tmp_path / "labels.png"
    labels = tmp_path / "stack-z4_labels.tif"
    plane = tmp_path / "plane.tif"
    tifffile.imwrite(plane, tifffile.imread(volume)[4])
    assert main(["convert", str(labels), "--image", str(plane), "-o", str(png)]) == 0
    said = Image.open(png).info
    assert said["model"] == "vit_nano"
    assert said["model_hash"] == model_hash(load_model("vit_nano", "cpu"))
