"""`napari-sam engine`: a project that is annotated in rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.cli_options import DEFAULT_MODEL
from napari_sam.commands.running import progress_bar, stopping
from napari_sam.engine.project import Project, find_images
from napari_sam.loading import check_model

if TYPE_CHECKING:
    from napari_sam.engine.exporting import ExportFormat
    from napari_sam.engine.importing import Finished
    from napari_sam.engine.rounds import Proposed

__all__ = ["classes", "export", "fill", "import_sessions", "init", "propose", "status", "train"]

_CLASSES_SHOWN = 10

Progress = Callable[[str, int, int], None]


def init(folder: Path, images: Sequence[str], base: str | None) -> None:
    """Begin a project, or add images to one.

    Raises
    ------
    InputError
        If images or model are not there, or the folder cannot be used.
    """
    if base is None:
        there = (folder / "project.json").exists()
        base = Project.open(folder).base if there else DEFAULT_MODEL
    check_model(base, "auto", "auto")
    path = Path(base).expanduser()
    project = Project.create(
        folder, find_images(images), str(path.absolute()) if path.is_file() else base
    )
    print(f"{project.folder}: {_count(len(project.images), 'image')}, base {project.base}")
    print(f"next: napari-sam engine propose {folder}")


def propose(
    folder: Path, number: int, size: int | None, tiles: int | None, *, model: str | None
) -> None:
    """Choose regions, and print them.

    Raises
    ------
    InputError
        If there is nothing to propose, or an image or the model cannot be used.
    """
    from napari_sam.engine.proposing import MOST_TILES, SIDE
    from napari_sam.engine.proposing import propose as choose

    project = _opened(folder, model)
    with stopping() as should_stop, _shown("parts") as show:
        current, proposed = choose(
            project,
            number,
            side=SIDE if size is None else size,
            most_tiles=MOST_TILES if tiles is None else tiles,
            model=model,
            on_progress=show,
            should_stop=should_stop,
        )
    print(f"round {current.number}, {proposed.looked_at} regions compared with {proposed.model}")
    print(_table(proposed))
    first = project.image(proposed.regions[0].image).where
    with_model = "" if project.model == DEFAULT_MODEL else f" --model {project.model}"
    print(f"next: napari-sam engine fill {folder}, or napari-sam open {first}{with_model}")


def fill(
    folder: Path,
    *,
    everywhere: bool,
    automatic: bool,
    predicted_iou: float | None,
    stability: float | None,
    model: str | None,
) -> None:
    """Fill sure masks in, or keep pseudo-labels.

    Raises
    ------
    InputError
        If nothing is proposed, or an image, the model or a threshold cannot be used.
    """
    from napari_sam.engine.filling import fill as fill_in
    from napari_sam.engine.filling import fill_automatically

    project = _opened(folder, model)
    with stopping() as should_stop, _shown("parts") as show:
        if automatic:
            filled = fill_automatically(
                project,
                predicted_iou=predicted_iou,
                stability=stability,
                model=model,
                on_progress=show,
                should_stop=should_stop,
            )
        else:
            filled = fill_in(
                project,
                predicted_iou=predicted_iou,
                stability=stability,
                everywhere=everywhere,
                model=model,
                on_progress=show,
                should_stop=should_stop,
            )
    what = "pseudo-label" if automatic else "new object"
    for key, count in filled.counts.items():
        print(f"{key}: {_count(count, what)}")
    print(f"round {filled.round.number}: {_count(sum(filled.counts.values()), what)}")


def import_sessions(folder: Path, sessions: Sequence[Path], finished: Finished) -> None:
    """Note what people made, and print what it took.

    Raises
    ------
    InputError
        If there are no sessions, or one cannot be used.
    """
    from napari_sam.engine.importing import costs_of, import_round

    project = Project.open(folder)
    current, imported = import_round(project, sessions, finished=finished)
    kinds: dict[str, int] = {}
    for some in imported.objects.values():
        for one in some:
            kinds[one.kind] = kinds.get(one.kind, 0) + 1
    print(f"round {current.number}: {_count(len(imported.sessions), 'session')}")
    for kind, count in sorted(kinds.items()):
        print(f"  {kind}: {_count(count, 'object')}")
    before = None if current.number == 1 else project.round(current.number - 1).imported
    costs = costs_of(imported, 0.0 if before is None else before.time)
    if costs.clicks is not None:
        print(f"  clicks for an object: {costs.clicks.value:.1f}")
    if costs.seconds is not None:
        print(f"  seconds for an object: {costs.seconds.value:.1f}")
    if not any(imported.finished.values()):
        print("  nothing is said to be finished (--finished): what is not outlined is unknown")
    print(f"next: napari-sam engine train {folder}")


def train(folder: Path, method: str | None, steps: int | None, device: str) -> None:
    """Train, compare, and print the verdict.

    Raises
    ------
    InputError
        If nothing is imported, or too little to learn from; if the training fails.
    """
    from napari_sam.engine.training import train_round
    from napari_sam.live.lessons import Advanced

    project = Project.open(folder)
    check_model(project.base, device, "auto")
    with stopping() as should_stop, _steps_shown() as show:
        figures = train_round(
            project,
            method=method or "decoder",
            advanced=Advanced(steps=steps),
            device=device,
            on_progress=show,
            should_stop=should_stop,
        )
    learned, held_out = figures["learned_from"], figures["held_out"]
    print(
        f"round {figures['round']}: learned from {_count(learned, 'object')}, {held_out} held out"
    )
    for note in figures["notes"]:
        print(f"  {note}")
    print(figures["sentence"])
    print(figures["forgetting"])
    print(f"model:  {figures['model']}")
    print(f"report: {project.round(figures['round']).folder / figures['report']}")


def status(folder: Path, path: Path | None) -> None:
    """Print the rounds, and draw them.

    Raises
    ------
    InputError
        If there is no project, or the picture cannot be written.
    """
    from napari_sam.engine.status import draw_rounds, round_rows, set_rows

    project = Project.open(folder)
    rows = round_rows(project)
    print(f"{project.name}: {_count(len(project.images), 'image')}, base {project.base}")
    if not rows:
        print(f"no rounds yet; next: napari-sam engine propose {folder}")
        return
    print(set_rows(rows))
    path = project.folder / "rounds.png" if path is None else path
    draw_rounds(rows, path)
    print(path)


def export(folder: Path, output: Path, format_name: ExportFormat, *, automatic: bool) -> None:
    """Write all objects.

    Raises
    ------
    InputError
        If there are none, a session is open elsewhere, or the folder cannot be written.
    """
    from napari_sam.engine.exporting import export_project

    project = Project.open(folder)
    with _shown("images") as show:
        done = export_project(project, output, format_name, automatic=automatic, on_progress=show)
    print(f"{output}: {_count(done.pictures, 'picture')} with {_count(done.objects, 'object')}")


def classes(folder: Path, key: str | None, least: float | None, *, model: str | None) -> None:
    """Propose classes, and apply them if that is asked for.

    Raises
    ------
    InputError
        If no image has objects of two classes, or one cannot be used.
    """
    from napari_sam.engine.class_files import classify_images

    project = _opened(folder, model)
    with stopping() as should_stop, _shown("parts") as show:
        found = classify_images(
            project, key, least, model=model, on_progress=show, should_stop=should_stop
        )
    for image, proposals, applied in found:
        named = ", ".join(f"{count} {name}" for name, count in proposals.learned_from.items())
        sure = (
            ""
            if proposals.agreement is None
            else f"; {proposals.agreement:.0%} of them, left out in turn, get their own class"
        )
        print(f"{image}: learned from {named}{sure.replace('%', ' %')}")
        for one in proposals.proposals[:_CLASSES_SHOWN]:
            print(f"  object {one.id:6}  {one.class_name:20} {one.confidence:.2f}")
        if (more := len(proposals.proposals) - _CLASSES_SHOWN) > 0:
            print(f"  ... and {more} with more confidence")
        if proposals.unknown:
            print(f"  {_count(len(proposals.unknown), 'object')} not encoded: open the image once")
        if least is not None:
            print(f"  {_count(applied, 'object')} classified; undo takes them back")


def _opened(folder: Path, model: str | None) -> Project:
    project = Project.open(folder)
    check_model(model or project.model, "auto", "auto")
    return project


@contextmanager
def _shown(unit: str) -> Iterator[Progress]:
    """Show a bar for the image in hand."""
    with progress_bar(unit) as show:
        yield lambda name, done, of: show(done, of)


@contextmanager
def _steps_shown() -> Iterator[Progress]:
    """Show a bar for each part of the training."""
    with ExitStack() as bars:
        shown: dict[str, Callable[[int, int], None]] = {}

        def show(what: str, done: int, of: int) -> None:
            if what not in shown:
                bars.close()
                shown[what] = bars.enter_context(progress_bar(what))
            shown[what](done, of)

        yield show


def _table(proposed: Proposed) -> str:
    """Set the regions as text.

    Examples
    --------
    >>> from napari_sam.engine.rounds import Proposed, ProposedRegion
    >>> from napari_sam.tiles.regions import Region
    >>> region = ProposedRegion("cells", Region(0, 0, 40, 50), 3, 0.2, None, 0.5, "3 candidates")
    >>> print(_table(Proposed("vit_nano", 4, (region,))))
      image                 rows         cols      score  why
      cells                 0-39         0-49       0.50  3 candidates
    """
    lines = ["  image                 rows         cols      score  why"]
    for one in proposed.regions:
        rows = f"{one.region.row0}-{one.region.row1 - 1}"
        cols = f"{one.region.col0}-{one.region.col1 - 1}"
        lines.append(f"  {one.image:20}{rows:>6}{cols:>13}  {one.score:9.2f}  {one.reason}")
    return "\n".join(lines)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
