"""A dataset on disk, opened."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam.errors import InputError
from napari_sam.files.images import read_image
from napari_sam.finetune.data import open_pictures
from napari_sam.finetune.settings import RunSettings, settings_from_dict
from napari_sam.tiles.regions import Region

if TYPE_CHECKING:
    from napari_sam.finetune.stored import StoredPictures

__all__ = ["FORMAT_VERSION", "HEAD", "PARTS", "Crop", "Dataset", "Part", "part_paths"]

FORMAT_VERSION = 1

HEAD = "dataset.json"
"""Written last: a folder without it is no dataset."""

Part = Literal["train", "validation", "hold-out"]

PARTS: tuple[Part, ...] = ("train", "validation", "hold-out")


@dataclass(frozen=True)
class Crop:
    """One picture of a dataset: a rectangle of a level of a source.

    Parameters
    ----------
    name : str
        Of its files, without suffix.
    part : {"train", "validation", "hold-out"}
        What it is for.
    source : int
        Its place in `Dataset.sources`.
    plane : (int, int) or None
        (t, z), where the source has several.
    level : int
        Of the source's scene; 0 is full resolution.
    region : Region
        In pixels of that level.
    objects : int
        How many are outlined in it. An object is outlined in one crop only.
    ids : tuple of int
        Their ids in the source, ascending: the objects of the part's pictures have this order.
    classes : mapping of int to str
        What those are of which it is known, by id.
    whole : bool
        Whether all objects in it are outlined; else `Dataset.known` tells where.
    """

    name: str
    part: Part
    source: int
    plane: tuple[int, int] | None
    level: int
    region: Region
    objects: int
    ids: tuple[int, ...] = ()
    classes: Mapping[int, str] = field(default_factory=dict)
    whole: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return what is saved."""
        region = self.region
        return {
            "name": self.name,
            "part": self.part,
            "source": self.source,
            "plane": None if self.plane is None else list(self.plane),
            "level": self.level,
            "region": [region.row0, region.col0, region.row1, region.col1],
            "ids": list(self.ids),
            "classes": {str(number): name for number, name in sorted(self.classes.items())},
            "whole": self.whole,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Crop:
        """Read what `to_json` gave."""
        if saved["part"] not in PARTS:
            raise ValueError(f"there is no part {saved['part']!r}")
        plane = saved["plane"]
        return cls(
            name=saved["name"],
            part=saved["part"],
            source=int(saved["source"]),
            plane=None if plane is None else (int(plane[0]), int(plane[1])),
            level=int(saved["level"]),
            region=Region(*map(int, saved["region"])),
            objects=len(saved["ids"]),
            ids=tuple(map(int, saved["ids"])),
            classes={int(number): str(name) for number, name in saved["classes"].items()},
            whole=bool(saved["whole"]),
        )


class Dataset:
    """Crops in three parts; made by `build_dataset`, opened by `open`.

    Attributes
    ----------
    path : Path
        The folder.
    version : str
        A hash of all that is in it: the same for the same pictures, objects and parts.
    created : str
        When it was built, as ISO 8601.
    notes : tuple of str
        Sentences that a person should read before training.
    sources : tuple of dict
        Where the crops are from: ``name``, ``kind``, ``group``, ``plane``, ``shape``,
        ``pixel_size``, ``finished``.
    crops : tuple of Crop
        Of all parts.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path = path
        self.version = str(head["version"])
        self.created = str(head["created"])
        self.notes: tuple[str, ...] = tuple(map(str, head["notes"]))
        self.sources: tuple[dict[str, Any], ...] = tuple(dict(one) for one in head["sources"])
        self.crops: tuple[Crop, ...] = tuple(map(Crop.from_json, head["crops"]))
        self._coco = bool(head["overlapping"])
        self._by_name = {(crop.part, crop.name): crop for crop in self.crops}

    @classmethod
    def open(cls, path: Path) -> Dataset:
        """Open a dataset.

        Raises
        ------
        InputError
            If there is none, it is of an unknown version, damaged, or files of it are missing.
        """
        path = Path(path)
        try:
            head = json.loads((path / HEAD).read_bytes())
            if (found := head["format_version"]) != FORMAT_VERSION:
                raise InputError(
                    f"{path} is a dataset of format {found}, of which only {FORMAT_VERSION} is "
                    f"known: open it with a newer version of this program."
                )
            dataset = cls(path, head)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"{path} is no dataset, or one that was not finished: build it again."
            ) from None
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror or error}).") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path / HEAD} is damaged ({error}): build it again.") from error
        for crop in dataset.crops:
            image = path / crop.part / "images" / f"{crop.name}.png"
            if not image.is_file():
                raise InputError(f"{image} is missing: build the dataset again.")
        return dataset

    def part(self, name: Part) -> StoredPictures | None:
        """Open the pictures of a part; None if it has none.

        The objects of each picture have the order of its `Crop.ids`.
        """
        if not any(crop.part == name for crop in self.crops):
            return None
        return open_pictures(*self.paths(name))

    def paths(self, name: Part) -> tuple[Path, Path]:
        """Return images and labels of a part, as `open_pictures` takes them."""
        return part_paths(self.path, name, self._coco)

    def objects(self, part: Part) -> int:
        """Count the objects of a part."""
        return sum(crop.objects for crop in self.crops if crop.part == part)

    def crop(self, part: Part, name: str) -> Crop:
        """Return a crop by the name of its picture.

        Raises
        ------
        KeyError
            If there is none.
        """
        return self._by_name[part, name.removesuffix(".png")]

    def known(self, part: Part, name: str) -> np.ndarray | None:
        """Tell where all objects of a picture are outlined.

        Parameters
        ----------
        part, name : str
            Which picture; with or without suffix.

        Returns
        -------
        (H, W) bool array, or None
            None: everywhere.

        Raises
        ------
        InputError
            If the file cannot be read.
        """
        crop = self.crop(part, name)
        if crop.whole:
            return None
        known = read_image(self.path / part / "known" / f"{crop.name}.png") > 127
        return known if known.ndim == 2 else known[..., 0]

    def classes(self, part: Part, name: str) -> dict[int, str]:
        """Say what the objects of a picture are, as far as it is known.

        Parameters
        ----------
        part, name : str
            Which picture; with or without suffix.

        Returns
        -------
        dict of int to str
            By the object's place in the picture: 0 is the first of its `objects`.
        """
        crop = self.crop(part, name)
        return {
            place: crop.classes[number]
            for place, number in enumerate(crop.ids)
            if number in crop.classes
        }

    def settings(self, **values: Any) -> RunSettings:
        """Return what a training run on it needs.

        Parameters
        ----------
        **values
            Anything that `settings_from_dict` takes: ``method``, ``base``, ``steps``, ...

        Raises
        ------
        InputError
            If a value is unusable.
        """
        images, labels = self.paths("train")
        given: dict[str, Any] = {"images": images.absolute(), "labels": labels.absolute()}
        if self.objects("validation"):
            images, labels = self.paths("validation")
            given |= {
                "validation_images": images.absolute(),
                "validation_labels": labels.absolute(),
            }
        else:
            given["validation_share"] = 0.0
        images, labels = self.paths("hold-out")
        given |= {"watched_images": images.absolute(), "watched_labels": labels.absolute()}
        return settings_from_dict(given | values)


def part_paths(folder: Path, part: Part, coco: bool) -> tuple[Path, Path]:
    """Return where images and labels of a part lie; overlapping objects are in one COCO file."""
    place = folder / part
    return place / "images", place / ("objects.json" if coco else "labels")
