"""`napari-sam evaluate`: how good a model is on pictures whose objects are known."""

import csv
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam import __version__
from napari_sam.commands.running import progress_bar
from napari_sam.errors import InputError
from napari_sam.files.outputs import check_output_folder
from napari_sam.loading import check_model, load

if TYPE_CHECKING:
    from napari_sam.finetune.stored import StoredPictures
    from src_model import Sam
    from src_model.loading import Precision
    from src_model.training.evaluation import PictureScores
    from src_model.training.evaluation.prompted import Trace

WORST_CASES = 10
"""So many of the worst outlined objects are drawn."""


def run(
    model_name: str,
    *,
    images: Path,
    labels: Path | None,
    output: Path | None,
    objects: int,
    limit: int | None,
    automatic: bool,
    groups: Path | None,
    device: str,
    precision: "Precision",
) -> None:
    """Evaluate a model on pictures with outlined objects, and print and write what was found.

    Everything that can be wrong is checked before the network runs. Pictures without objects and
    objects of one pixel are left aside.

    Parameters
    ----------
    model_name : str
        Name of a known checkpoint, or path of a file of weights.
    images, labels : Path
        As `napari_sam.finetune.data.open_pictures` takes them.
    output : Path or None
        Folder for the report; None prints the tables only.
    objects : int
        Objects prompted for in each picture, at most.
    limit : int or None
        Only so many pictures, the first ones.
    automatic : bool
        Also find all objects without prompts, as `napari-sam segment --everything` does.
    groups : Path or None
        CSV file of pictures' names and groups, as `read_groups` takes it; by default
        `src_model.training.evaluation.picture_kind` tells.
    device, precision : str
        As `src_model.load_model` takes them.

    Raises
    ------
    InputError
        For a model, a folder, or files that cannot be used.
    """
    from napari_sam.finetune.checking import open_checked_pictures
    from napari_sam.finetune.report import EvaluationReport, write_report
    from napari_sam.finetune.worst_cases import draw_case
    from src_model.training.evaluation import summarise

    if output is not None:
        check_output_folder(output)
    check_model(model_name, device, precision)
    group_of = None if groups is None else read_groups(groups)
    with progress_bar("pictures checked") as progress:
        pictures, warnings = open_checked_pictures(images, labels, on_progress=progress)
    if warnings:
        print(warnings, file=sys.stderr)
    model = load(model_name, device, precision)
    count = len(pictures) if limit is None else min(limit, len(pictures))
    start = time.perf_counter()
    found = _measure(model, pictures, range(count), objects, automatic, group_of)
    seconds = time.perf_counter() - start
    report = EvaluationReport(
        about={
            **_about(model, model_name),
            "images": str(images),
            "labels": str(labels or images),
            "objects per picture, at most": objects,
            "seconds": round(seconds),
        },
        summaries={group: summarise(members) for group, members in found.by_group().items()},
        worst=[draw_case(pictures[case.picture], case.trace) for case in found.worst],
    )
    print(f"{model_name}: {len(found.scores)} pictures in {seconds:.0f} s\n")
    print(report.to_text())
    if output is not None:
        print()
        for path in write_report(output, report):
            print(path)


def read_groups(path: Path) -> dict[str, str]:
    """Read which group each picture belongs to.

    Parameters
    ----------
    path : Path
        A CSV file with two columns: a picture's name, with or without suffix, and its group.

    Returns
    -------
    dict of str to str
        Group by name without suffix.

    Raises
    ------
    InputError
        If the file cannot be read or has other columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise InputError(f"The groups in {path} cannot be read: {reason}.") from error
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise InputError(
                f"{path}, row {number} has {len(row)} column(s); a picture's name and its group "
                "are needed, as in cells.png,stained."
            )
    return {Path(name.strip()).stem: group.strip() for name, group in rows}


@dataclass(frozen=True)
class _Case:
    """An object that was outlined badly."""

    iou: float
    picture: int
    trace: "Trace"


@dataclass
class _Findings:
    """What was measured so far."""

    scores: list["PictureScores"] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    worst: list[_Case] = field(default_factory=list)

    def add(self, index: int, group: str, scores: "PictureScores") -> None:
        cases = [_Case(trace.ious[-1], index, trace) for trace in scores.traces]
        self.worst = sorted([*self.worst, *cases], key=lambda case: case.iou)[:WORST_CASES]
        self.scores.append(replace(scores, traces=()))  # their masks would add up
        self.groups.append(group)

    def by_group(self) -> dict[str, list["PictureScores"]]:
        """Return all scores, and those of each group if there are several."""
        names = sorted(set(self.groups))
        if len(names) == 1:
            return {f"all ({names[0]})": self.scores}
        members = {
            name: [s for s, group in zip(self.scores, self.groups, strict=True) if group == name]
            for name in names
        }
        return {"all": self.scores, **members}


def _measure(
    model: "Sam",
    pictures: "StoredPictures",
    indices: Sequence[int],
    objects: int,
    automatic: bool,
    group_of: Mapping[str, str] | None,
) -> _Findings:
    from napari_sam.finetune.automatic import score_automatic
    from src_model.training.evaluation import evaluate_picture, picture_kind

    found = _Findings()
    with progress_bar("pictures") as progress:
        for done, index in enumerate(indices, start=1):
            picture = pictures[index]
            if len(picture.objects):
                scores = evaluate_picture(model, picture, objects)
                if automatic:
                    scores = scores.with_values(score_automatic(model, picture))
                if group_of is None:
                    group = picture_kind(picture.image)
                else:
                    group = group_of.get(Path(picture.name).stem, "no group")
                found.add(index, group, scores)
            progress(done, len(indices))
    if not found.scores:
        raise InputError(
            f"None of the first {len(indices)} pictures has an object of more than one pixel: "
            "raise --limit, or give other pictures."
        )
    return found


def _about(model: "Sam", name: str) -> dict[str, str | int]:
    """Say what was evaluated, and with what."""
    import torch

    from src_model.weight_files import model_hash

    return {
        "model": name,
        "variant": model.variant.name,
        "hash": model_hash(model),
        "device": str(model.device),
        "precision": str(model.mask_decoder.iou_token.weight.dtype).removeprefix("torch."),
        "napari-sam": __version__,
        "torch": torch.__version__,
    }
