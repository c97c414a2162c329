"""A hold-out that stays: datasets that grow never learn from what the first one held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_datasets import nuclei, scene_of

from napari_sam.errors import InputError
from napari_sam.finetune.datasets import (
    Dataset,
    Source,
    build_dataset,
    copy_hold_out,
    from_labels,
    held_out_regions,
)
from napari_sam.tiles.regions import Region


def source(name: str, seed: int, keep: float = 1.0) -> Source:
    """Return a share of the objects of a picture, the uppermost ones."""
    image, labels = nuclei(seed=seed)
    labels = np.where(labels <= keep * labels.max(), labels, 0)
    made = from_labels(scene_of(image), labels)
    places = [replace(place, name=name, where=name, group=name) for place in made.places]
    return Source(name, tuple(places))


def files_of(dataset: Dataset) -> dict[str, bytes]:
    folder = dataset.path / "hold-out"
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def check_nothing_is_learned_from(dataset: Dataset, regions: dict[str, list[Region]]) -> None:
    looked_at = 0
    for crop in dataset.crops:
        if crop.part == "hold-out":
            continue
        scale, one = 1 << crop.level, crop.region
        shown = Region(one.row0 * scale, one.col0 * scale, one.row1 * scale, one.col1 * scale)
        for region in regions.get(dataset.sources[crop.source]["name"], ()):
            assert not (shown & region).area
            looked_at += 1
    assert looked_at


def test_blocks_of_a_scene_stay_held_out(tmp_path: Path) -> None:
    first = build_dataset([source("a", 0, keep=0.6)], tmp_path / "first")
    regions = held_out_regions(first)
    assert regions["a"]
    second = build_dataset([source("a", 0), source("b", 1)], tmp_path / "second", hold_out_of=first)
    assert files_of(second) == files_of(first)
    assert second.objects("hold-out") == first.objects("hold-out")
    assert second.objects("train") > first.objects("train")
    check_nothing_is_learned_from(second, regions)
    third = build_dataset([source("b", 1), source("a", 0)], tmp_path / "third", hold_out_of=second)
    assert files_of(third) == files_of(first)
    check_nothing_is_learned_from(third, regions)
    crop = next(crop for crop in third.crops if crop.part == "hold-out")
    assert third.sources[crop.source]["name"] == "a"
    known, before = (one.known("hold-out", crop.name) for one in (third, first))
    np.testing.assert_array_equal(known, before)
    assert second.settings(steps=1).watched_images is not None


def test_pictures_stay_held_out_whatever_is_outlined_in_them_later(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(6)]
    first = build_dataset(
        [source(name, number, 0.3) for number, name in enumerate(names)], tmp_path / "first"
    )
    out = {first.sources[crop.source]["name"] for crop in first.crops if crop.part == "hold-out"}
    assert out
    second = build_dataset(
        [source(name, number) for number, name in enumerate([*names, "new"])],
        tmp_path / "second",
        hold_out_of=first,
    )
    learned = {
        second.sources[crop.source]["name"] for crop in second.crops if crop.part != "hold-out"
    }
    assert learned == {*names, "new"} - out
    assert files_of(second) == files_of(first)
    assert any("still is" in note for note in second.notes)
    with pytest.raises(InputError, match="outline something elsewhere"):
        build_dataset([source(min(out), 0)], tmp_path / "none", hold_out_of=first)
    assert not (tmp_path / "none").exists()


def test_a_copy_is_as_good_and_one_that_does_not_say_is_refused(tmp_path: Path) -> None:
    first = build_dataset([source("a", 0)], tmp_path / "first")
    copy = copy_hold_out(first, tmp_path / "copy")
    assert files_of(copy) == files_of(first)
    assert {crop.part for crop in copy.crops} == {"hold-out"}
    one, other = (
        build_dataset([source("b", 3, 0.2)], tmp_path / name, hold_out_of=of)
        for name, of in (("one", first), ("other", copy))
    )
    assert one.version == other.version
    with pytest.raises(InputError, match="cannot be written"):
        copy_hold_out(first, tmp_path / "copy")
    head = json.loads((tmp_path / "copy" / "dataset.json").read_text())
    del head["sources"][0]["blocks"]
    (tmp_path / "copy" / "dataset.json").write_text(json.dumps(head))
    with pytest.raises(InputError, match="does not say what of a is held out"):
        held_out_regions(Dataset.open(tmp_path / "copy"))
