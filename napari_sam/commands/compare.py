"""`napari-sam compare`: a model before and after it was taught, on the same objects."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam import __version__
from napari_sam.commands.running import progress_bar
from napari_sam.errors import InputError
from napari_sam.files.outputs import check_output_folder
from napari_sam.loading import check_model, load

if TYPE_CHECKING:
    import numpy as np

    from napari_sam.finetune.stored import StoredPictures
    from src_model import Sam
    from src_model.loading import Precision


def run(
    base_name: str,
    new_name: str,
    *,
    images: Path | None,
    labels: Path | None,
    dataset: Path | None,
    output: Path,
    objects: int,
    automatic: bool,
    forgetting: bool,
    device: str,
    precision: Precision,
) -> None:
    """Compare two models, print the verdict and all figures, and write the report.

    Parameters
    ----------
    base_name, new_name : str
        Names of known models, or paths of files of weights.
    images, labels : Path or None
        As `napari_sam.finetune.data.open_pictures` takes them; outlined completely.
    dataset : Path or None
        A folder of `napari_sam.finetune.datasets` instead, of which the hold-out is taken.
    output : Path
        Folder for the report.
    objects : int
        Objects prompted for in each picture, at most.
    automatic : bool
        Also find all objects without prompts.
    forgetting : bool
        Compare on the default validation pictures too.
    device, precision : str
        As `src_model.load_model` takes them.

    Raises
    ------
    InputError
        For a model, a folder, or files that cannot be used.
    """
    from napari_sam.finetune.before_after import comparison_text, write_comparison
    from napari_sam.finetune.comparison import compare
    from napari_sam.finetune.default_validation import default_validation
    from napari_sam.finetune.verdict import forgetting_sentence

    check_output_folder(output)
    for name in (base_name, new_name):
        check_model(name, device, precision)
    data = _open(images, labels, dataset)
    base, new = (load(name, device, precision) for name in (base_name, new_name))
    with progress_bar("measurements") as progress:
        found = compare(
            base,
            new,
            data.pictures,
            known=data.known,
            classes=data.classes,
            objects=objects,
            automatic=automatic,
            on_progress=progress,
        )
    kept = None
    if forgetting:
        with progress_bar("measurements of what may be forgotten") as progress:
            kept = compare(
                base,
                new,
                default_validation(),
                objects=objects,
                automatic=automatic,
                on_progress=progress,
            )
    about = {**_about(base_name, base, new_name, new), **data.about}
    paths = write_comparison(
        output, found, kept, {**about, "objects per picture, at most": objects}
    )
    print(f"{found.verdict.sentence}\n")
    print(comparison_text(found))
    if kept is not None:
        print(f"\n{forgetting_sentence(kept.overall)}")
    print(f"\n{paths.json}\n{paths.html}")


@dataclass(frozen=True)
class _Data:
    """Pictures to compare on, and what is known of them."""

    pictures: StoredPictures
    about: dict[str, str | int]
    known: Callable[[str], np.ndarray | None] | None = None
    classes: Callable[[str], Mapping[int, str]] | None = None


def _open(images: Path | None, labels: Path | None, dataset: Path | None) -> _Data:
    if dataset is not None:
        from napari_sam.finetune.datasets import Dataset

        opened = Dataset.open(dataset)
        pictures = opened.part("hold-out")
        if pictures is None:
            raise InputError(f"{dataset} has no hold-out: give --images and --labels instead.")
        return _Data(
            pictures,
            {"dataset": str(dataset), "version": opened.version, "part": "hold-out"},
            lambda name: opened.known("hold-out", name),
            lambda name: opened.classes("hold-out", name),
        )
    if images is None:
        raise InputError("Say on what: give --images and --labels, or --dataset.")
    from napari_sam.finetune.checking import open_checked_pictures

    with progress_bar("pictures checked") as progress:
        pictures, warnings = open_checked_pictures(images, labels, on_progress=progress)
    if warnings:
        print(warnings, file=sys.stderr)
    return _Data(pictures, {"images": str(images), "labels": str(labels or images)})


def _about(base_name: str, base: Sam, new_name: str, new: Sam) -> dict[str, str | int]:
    from src_model.weight_files import model_hash

    return {
        "before": base_name,
        "hash before": model_hash(base),
        "after": new_name,
        "hash after": model_hash(new),
        "device": str(new.device),
        "napari-sam": __version__,
    }
