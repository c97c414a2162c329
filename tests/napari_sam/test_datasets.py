"""Datasets on disk: what people outlined comes back, in parts that never meet, or not at all."""

import errno
import json
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sessions import Discs
from PIL import Image
from skimage.draw import disk

from napari_sam.cli import main
from napari_sam.errors import InputError
from napari_sam.files.outputs import write_labels, write_png
from napari_sam.finetune.checking import check_pictures
from napari_sam.finetune.data import open_pictures
from napari_sam.finetune.datasets import (
    PARTS,
    BuildStopped,
    Dataset,
    build_dataset,
    check_health,
    from_labels,
    from_pictures,
    from_session,
    writing,
)
from napari_sam.scene import Scene, open_scene
from napari_sam.segment.scribbles import MaskRegion
from napari_sam.session import Session


def nuclei(shape: tuple[int, int] = (240, 230), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright discs on a dark ground, in every second place of a grid; and their labels."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 20, (*shape, 3), dtype=np.uint8)
    labels = np.zeros(shape, np.int32)
    for row in range(14, shape[0] - 8, 24):
        for col in range(14, shape[1] - 8, 24):
            at = disk((row + rng.integers(-3, 4), col + rng.integers(-3, 4)), 6, shape=shape)
            labels[at] = labels.max() + 1
            image[at] += 100
    return image, labels


def scene_of(image: np.ndarray, **options: Any) -> Scene:
    return open_scene(image, axes="YXS", **options)


@pytest.fixture
def built(tmp_path: Path) -> Dataset:
    image, labels = nuclei()
    return build_dataset([from_labels(scene_of(image), labels)], tmp_path / "data")


def test_crops_show_the_image_and_its_objects(built: Dataset) -> None:
    image, labels = nuclei()
    found: list[int] = []
    for part in PARTS:
        pictures = built.part(part)
        assert pictures is not None
        assert not any(problem.fatal for problem in check_pictures(pictures))
        for index in range(len(pictures)):
            picture = pictures[index]
            crop = built.crop(part, picture.name)
            rows, cols = crop.region.rows, crop.region.cols
            np.testing.assert_array_equal(picture.image, image[rows, cols])
            assert crop.objects == len(picture.objects)
            for place, number in enumerate(crop.ids):
                np.testing.assert_array_equal(
                    picture.objects.full(place), labels[rows, cols] == number
                )
            shown = np.isin(labels[rows, cols], crop.ids)
            known = built.known(part, picture.name)
            known = np.ones(shown.shape, bool) if known is None else known
            # Where all is labelled, only objects of other crops are unknown.
            np.testing.assert_array_equal(known, (labels[rows, cols] == 0) | shown)
            found += crop.ids
    left_out = sum(int(note.split()[0]) for note in built.notes if "borders" in note)
    assert len(found) == len(set(found)) == labels.max() - left_out


def test_parts_never_share_a_pixel(built: Dataset) -> None:
    drawn = {part: np.zeros((240, 230), bool) for part in PARTS}
    for crop in built.crops:
        drawn[crop.part][crop.region.rows, crop.region.cols] = True
    for one, other in combinations(PARTS, 2):
        assert drawn[one].any()
        assert not (drawn[one] & drawn[other]).any()


def test_settings_train_on_one_part_and_watch_the_other(built: Dataset) -> None:
    settings = built.settings(method="lora", steps=7, base="vit_nano")
    assert (settings.method, settings.training.steps) == ("lora", 7)
    for part, images, labels in (
        ("train", settings.images, settings.labels),
        ("validation", settings.validation_images, settings.validation_labels),
        ("hold-out", settings.watched_images, settings.watched_labels),
    ):
        assert images is not None
        opened = built.part(part)  # type: ignore[arg-type]
        assert opened is not None
        assert len(open_pictures(images, labels)) == len(opened)


def test_the_same_objects_give_the_same_version(tmp_path: Path) -> None:
    image, labels = nuclei()

    def version(name: str) -> str:
        return build_dataset([from_labels(scene_of(image), labels)], tmp_path / name).version

    first = version("one")
    assert version("two") == first
    row, col = np.argwhere(labels == 5)[0]
    labels[row, col] = 0
    assert version("three") != first
    labels[row, col] = 5
    image[row, col] += 1
    assert version("four") != first


def session_of(path: Path, scene: Scene, labels: np.ndarray, **names: str) -> Session:
    session = Session.create(path, scene, Discs(scene.shape))
    session.import_labels(labels)
    for number in session.ids[::2]:
        session.relabel(number, class_name="cell")
    return session


def test_all_planes_of_a_session(tmp_path: Path) -> None:
    planes = [nuclei(seed=seed) for seed in range(3)]
    stack = np.stack([image[..., 0] for image, _ in planes]).astype(np.uint16) * 50

    def plane(z: int) -> Scene:
        return open_scene(stack, axes="ZYX", z=z)

    session = session_of(tmp_path / "session", plane(0), planes[0][1])
    second = plane(2)
    session.go_to(second, Discs(second.shape))
    session.import_labels(planes[2][1])
    square = np.array([[0, 0], [0, 229], [110, 229], [110, 0]])
    with session:
        source = from_session(session, finished=[square])
    dataset = build_dataset([source], tmp_path / "data")

    assert {crop.plane for crop in dataset.crops} == {(0, 0), (0, 2)}
    for crop in dataset.crops:
        scene = plane(0) if crop.plane == (0, 0) else second
        shown = np.asarray(Image.open(dataset.path / crop.part / "images" / f"{crop.name}.png"))
        expected = scene.read_rgb(0, crop.region.rows, crop.region.cols)
        np.testing.assert_array_equal(shown, expected)
        known = dataset.known(crop.part, crop.name)
        if crop.plane == (0, 0):  # nobody said that anything is finished there
            assert known is not None
            assert not known.any()
            assert set(crop.classes.values()) == {"cell"}
        elif crop.region.row0 > 110:
            assert known is not None
            assert not known.any()
        else:
            assert known is None or known.any()
        names = dataset.classes(crop.part, f"{crop.name}.png")
        assert names == {
            place: "cell" for place, number in enumerate(crop.ids) if number in crop.classes
        }
    assert any("no region is said to be finished" in note for note in dataset.notes)


def test_large_objects_are_shown_at_coarser_levels(tmp_path: Path) -> None:
    labels = np.zeros((1900, 2000), np.int32)
    for number, (row, col) in enumerate([(60, 50), (80, 1200), (1200, 80), (1100, 1300)], 1):
        labels[row : row + 600, col : col + 560] = number
    for number, (row, col) in enumerate(np.ndindex(14, 15), 5):
        corner = row * 128 + 5, col * 132 + 5
        labels[corner[0] : corner[0] + 20, corner[1] : corner[1] + 25] = number
    image = (labels > 0).astype(np.uint8) * 90
    scene = open_scene(image, axes="YX", pixel_size=(0.5, 0.5, "micrometer"))
    dataset = build_dataset([from_labels(scene, labels)], tmp_path / "data")

    levels = {crop.level: [] for crop in dataset.crops}  # type: ignore[var-annotated]
    for crop in dataset.crops:
        levels[crop.level] += crop.ids
    assert set(levels[1]) <= {1, 2, 3, 4}
    assert set(levels[1])
    assert min(levels[0]) > 4
    health = check_health(dataset, "vit_nano")
    assert [size.unit for size in health.sizes] == ["px", "micrometer"]
    assert health.sizes[1].median == pytest.approx(health.sizes[0].median / 2)
    assert health.levels[1] == len(levels[1])
    for odd in health.suspicious:
        assert abs(odd.row - np.argwhere(labels == odd.id).mean(0)[0]) < 1.5


def test_overlapping_objects_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "sa1b"
    folder.mkdir()
    for picture in range(6):
        image, labels = nuclei((120, 140), seed=picture)
        write_png(folder / f"p{picture}.png", image)
        annotations = []
        for number in range(1, labels.max() + 1):
            rows, cols = np.nonzero(labels == number)
            right, low = int(cols.max()) + 9, int(rows.max()) + 9  # into its neighbour
            top, left = int(rows.min()), int(cols.min())
            corners = [left, top, right, top, right, low, left, low]
            annotations.append({"id": number, "segmentation": [corners]})
        told = {"image": {"height": 120, "width": 140}, "annotations": annotations}
        (folder / f"p{picture}.json").write_text(json.dumps(told))
    pictures = open_pictures(folder)
    dataset = build_dataset([from_pictures(pictures)], tmp_path / "data")

    total = sum(len(pictures.read_objects(index)) for index in range(6))
    assert sum(dataset.objects(part) for part in PARTS) == total
    by_name = {pictures.name(index): pictures[index] for index in range(6)}
    for part in PARTS:
        opened = dataset.part(part)
        for index in range(len(opened or ())):
            assert opened is not None
            picture, original = opened[index], by_name[Path(opened.name(index)).stem]
            for place in range(len(original.objects)):
                np.testing.assert_array_equal(
                    picture.objects.full(place), original.objects.full(place)
                )
    assert check_health(dataset, "vit_nano").overlapping > 0


def test_pictures_of_a_group_stay_together(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder in (images, labels):
        folder.mkdir()
    for number in range(12):
        image, objects = nuclei((80, 90), seed=number)
        write_png(images / f"patient{number % 4}-{number}.png", image)
        write_labels(labels / f"patient{number % 4}-{number}.tif", objects)
    source = from_pictures(open_pictures(images, labels), group_of=lambda name: name[:8])
    dataset = build_dataset([source], tmp_path / "data")
    held_out = {crop.name[:8] for crop in dataset.crops if crop.part == "hold-out"}
    others = {crop.name[:8] for crop in dataset.crops if crop.part != "hold-out"}
    assert held_out
    assert others
    assert not held_out & others
    assert all(crop.region.shape == (80, 90) for crop in dataset.crops)
    assert {one["group"] for one in dataset.sources} == {f"patient{n}" for n in range(4)}


def test_pictures_keep_their_ids_and_classes(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    for folder in (images, labels):
        folder.mkdir()
    annotations: list[dict[str, Any]] = []
    for number in range(4):
        image, objects = nuclei((80, 90), seed=number)
        write_png(images / f"{number}.png", image)
        write_labels(labels / f"{number}.tif", objects * 7)
        for place in range(9):
            corners = [[5, 8 * place, 25, 8 * place, 25, 8 * place + 6]]
            annotations.append(
                {
                    "id": 1000 - len(annotations),
                    "image_id": number,
                    "category_id": place % 2,
                    "iscrowd": int(place == 3),
                    "segmentation": corners,
                }
            )
    dataset = build_dataset([from_pictures(open_pictures(images, labels))], tmp_path / "one")
    assert all(number % 7 == 0 for crop in dataset.crops for number in crop.ids)

    told = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 80, "width": 90} for n in range(4)],
        "annotations": annotations,
        "categories": [{"id": 0, "name": "even"}, {"id": 1, "name": "odd"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(told))
    coco = open_pictures(images, tmp_path / "coco.json")
    dataset = build_dataset([from_pictures(coco)], tmp_path / "two")
    expected = {
        one["id"]: ("even", "odd")[one["category_id"]] for one in annotations if not one["iscrowd"]
    }
    found = {number: name for crop in dataset.crops for number, name in crop.classes.items()}
    assert found == expected
    assert check_health(dataset, "vit_nano").classes == {"even": 20, "odd": 12}


def test_suspicious_objects_have_their_place(tmp_path: Path) -> None:
    image, labels = nuclei((400, 400))
    first, second, third, fourth = 40, 90, 140, 1
    rows, cols = np.nonzero(labels == first)
    labels[int(rows.mean()) - 1 : int(rows.mean()) + 2, int(cols.mean()) - 1] = 0  # a hole
    rows, cols = np.nonzero(labels == second)
    labels[rows.min() + 4 : rows.min() + 8, cols.min() : cols.max() + 1] = 0  # two parts
    rows, cols = np.nonzero(labels == third)
    labels[labels == third] = 0
    labels[rows[0], cols[0] : cols[0] + 3] = third  # tiny
    rows, cols = np.nonzero(labels == fourth)
    top, left = int(rows.min()), int(cols.min())
    labels[top : top + 55, left : left + 55] = fourth  # large
    dataset = build_dataset([from_labels(scene_of(image), labels)], tmp_path / "data")
    health = check_health(dataset, "vit_nano")
    shown = {number for crop in dataset.crops for number in crop.ids}
    told = {odd.id: odd for odd in health.suspicious}
    for number, why in ((first, "hole"), (second, "2 parts"), (third, "pixels"), (fourth, "large")):
        assert number in shown, "choose another object: this one lies across a border"
        assert any(one.id == number and why in one.why for one in health.suspicious)
        middle = np.argwhere(labels == number).mean(0)
        assert (told[number].row, told[number].col) == pytest.approx(tuple(middle), abs=2)
        assert told[number].source == 0
    text = health.to_text()
    assert dataset.version in text
    assert f"object {first} at row" in text
    assert len(health.rows()) == len(health.suspicious)


def test_intensities_are_compared_with_the_base(built: Dataset) -> None:
    assert "fluorescence" in " ".join(check_health(built, "vit_nano").appearance)
    assert "Nothing is recorded" in check_health(built, "vit_b").appearance[0]


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_objects_are_refused_in_one_sentence(tmp_path: Path, count: int) -> None:
    labels = np.zeros((100, 100), np.int32)
    labels[20:30, 20:30] = count
    with pytest.raises(InputError) as told:
        build_dataset([from_labels(scene_of(nuclei((100, 100))[0]), labels)], tmp_path / "data")
    assert re.fullmatch(r"[^.]+(\. ?[^.]+)?\.", str(told.value))
    assert not (tmp_path / "data").exists()


def test_two_objects_are_enough_and_it_is_said_to_be_little(tmp_path: Path) -> None:
    image, labels = np.full((400, 400, 3), 9, np.uint8), np.zeros((400, 400), np.int32)
    labels[20:50, 20:50], labels[330:360, 300:340] = 1, 2
    dataset = build_dataset([from_labels(scene_of(image), labels)], tmp_path / "data")
    assert (dataset.objects("train"), dataset.objects("hold-out")) == (1, 1)
    assert dataset.part("validation") is None
    assert dataset.settings().validation_share == 0
    assert any("cannot show that a model is better" in note for note in dataset.notes)


@pytest.mark.parametrize("broken", ["write_labels", "write_png"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    calls = iter(range(1000))
    working: Callable[..., None] = getattr(writing, broken)

    def fill(*given: Any) -> None:
        if next(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        working(*given)

    monkeypatch.setattr(writing, broken, fill)
    image, labels = nuclei()
    with pytest.raises(InputError, match="No space left on device"):
        build_dataset([from_labels(scene_of(image), labels)], tmp_path / "data")
    assert not list(tmp_path.iterdir())


def test_it_can_be_stopped_and_leaves_nothing(tmp_path: Path) -> None:
    asked: Iterator[int] = iter(range(1000))
    told: list[tuple[int, int]] = []
    image, labels = nuclei()
    with pytest.raises(BuildStopped):
        build_dataset(
            [from_labels(scene_of(image), labels)],
            tmp_path / "data",
            on_progress=lambda done, of: told.append((done, of)),
            should_stop=lambda: next(asked) > 4,
        )
    assert not list(tmp_path.iterdir())


def test_what_a_crash_left_is_no_dataset_and_is_replaced(tmp_path: Path) -> None:
    image, labels = nuclei()
    source, folder = from_labels(scene_of(image), labels), tmp_path / "data"
    whole = build_dataset([source], folder)
    (folder / "dataset.json").unlink()  # as if it had been cut off before the end
    (folder / "unfinished").touch()
    (folder / "train" / "images" / "stale.png").write_bytes(b"half")
    with pytest.raises(InputError, match="not finished"):
        Dataset.open(folder)
    again = build_dataset([source], folder)
    assert again.version == whole.version
    assert not (folder / "train" / "images" / "stale.png").exists()


def test_nothing_is_overwritten(built: Dataset, tmp_path: Path) -> None:
    image, labels = nuclei()
    source = from_labels(scene_of(image), labels)
    with pytest.raises(InputError, match="already"):
        build_dataset([source], built.path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match="other files"):
        build_dataset([source], tmp_path / "mine")
    assert Dataset.open(built.path).version == built.version


def test_damage_is_told(built: Dataset) -> None:
    head = json.loads((built.path / "dataset.json").read_text())
    (built.path / "dataset.json").write_text(json.dumps({**head, "format_version": 99}))
    with pytest.raises(InputError, match="newer version"):
        Dataset.open(built.path)
    (built.path / "dataset.json").write_text(json.dumps(head)[:-50])
    with pytest.raises(InputError, match="damaged"):
        Dataset.open(built.path)
    (built.path / "dataset.json").write_text(json.dumps(head))
    crop = built.crops[0]
    (built.path / crop.part / "images" / f"{crop.name}.png").unlink()
    with pytest.raises(InputError, match="is missing"):
        Dataset.open(built.path)


def test_polygons_must_have_corners() -> None:
    image, labels = nuclei((80, 80))
    with pytest.raises(InputError, match="three or more corners"):
        from_labels(scene_of(image), labels, finished=[np.zeros((2, 2))])


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, labels = nuclei()
    picture, session = tmp_path / "cells.png", tmp_path / "cells.png.napari-sam" / "session"
    write_png(picture, image)
    session.parent.mkdir()
    session_of(session, open_scene(picture), labels).close()
    assert main(["dataset", str(session.parent), "-o", str(tmp_path / "data")]) == 0
    told = capsys.readouterr().out
    dataset = Dataset.open(tmp_path / "data")
    assert dataset.version in told
    assert "hold-out" in told
    assert dataset.sources[0]["kind"] == "session"

    write_labels(tmp_path / "labels.tif", labels)
    pair = ["--images", str(picture), "--labels", str(tmp_path / "labels.tif")]
    assert main(["dataset", *pair, "-o", str(tmp_path / "other")]) == 0
    assert Dataset.open(tmp_path / "other").objects("train") == dataset.objects("train")
    assert main(["dataset", *pair, "-o", str(tmp_path / "other")]) == 2
    assert main(["dataset", "-o", str(tmp_path / "third")]) == 2
    assert main(["dataset", *pair[:2], "-o", str(tmp_path / "third")]) == 2
    assert main(["dataset", *pair, "--groups", "(", "-o", str(tmp_path / "third")]) == 2
    told = capsys.readouterr().err
    assert told.count("napari-sam: ") == 4
    assert not (tmp_path / "third").exists()


def test_regions_may_be_drawn_by_class(tmp_path: Path) -> None:
    """Objects drawn by hand in a session keep their ids and classes."""
    image, _ = nuclei((200, 200))
    with Session.create(tmp_path / "session", scene_of(image)) as session:
        for place in range(20, 180, 40):
            mask = MaskRegion(place, place, np.ones((12, 10), bool))
            session.add_object(mask, class_name=f"kind {place}")
        dataset = build_dataset([from_session(session)], tmp_path / "data")
        for crop in dataset.crops:
            for number, name in crop.classes.items():
                assert session.info(number).class_name == name
