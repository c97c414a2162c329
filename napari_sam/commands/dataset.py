"""`napari-sam dataset`: training data of what was outlined, with a part kept away."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam.commands.running import progress_bar, stopping
from napari_sam.errors import InputError

if TYPE_CHECKING:
    from napari_sam.finetune.datasets import Source


def run(
    sources: Sequence[Path],
    *,
    images: Path | None,
    labels: Path | None,
    groups: str | None,
    held_out: float,
    seed: int,
    base: str,
    folder: Path,
) -> None:
    """Build a dataset, and print what it is like.

    Parameters
    ----------
    sources : sequence of Path
        Sessions, or folders of pictures with their objects.
    images, labels : Path or None
        An image of any size with its labels, or folders of them.
    groups : str or None
        A regular expression; pictures in whose names it matches the same text belong together.
    held_out : float
        Share of the objects.
    seed : int
        Of the choice.
    base : str
        Model to compare intensities with.
    folder : Path
        For the dataset.

    Raises
    ------
    InputError
        If a source cannot be used, nothing can be held out, or the folder cannot be written.
    KeyboardInterrupt
        If it was stopped; nothing is left then.
    """
    from napari_sam.finetune.datasets import BuildStopped, build_dataset, check_health

    if (images is None) != (labels is None):
        raise InputError("--images and --labels belong together: give both.")
    group_of = None if groups is None else _grouping(groups)
    with ExitStack() as stack:
        found = [_opened(path, group_of, stack) for path in sources]
        if images is not None and labels is not None:
            found.append(_pair(images, labels, group_of))
        if not found:
            raise InputError(
                "Say what was outlined: a session, a folder, or --images and --labels."
            )
        try:
            with stopping() as should_stop, progress_bar("crops") as progress:
                dataset = build_dataset(
                    found,
                    folder,
                    held_out=held_out,
                    seed=seed,
                    on_progress=progress,
                    should_stop=should_stop,
                )
        except BuildStopped:
            raise KeyboardInterrupt("stopped; nothing was written.") from None
    with progress_bar("crops looked at") as progress:
        print(check_health(dataset, base, progress).to_text())
    print(f"\n{folder}")


def _opened(path: Path, group_of: Callable[[str], str] | None, stack: ExitStack) -> Source:
    """Open a source by what is there."""
    from napari_sam.finetune.data import open_pictures
    from napari_sam.finetune.datasets import from_pictures, from_session
    from napari_sam.live.finished import read_finished
    from napari_sam.sessions.opening import open_session, sessions_in

    if sessions := sessions_in(path):
        if len(sessions) > 1:
            raise InputError(
                f"{path} holds several sessions ({', '.join(one.name for one in sessions)}): give "
                f"the one that you mean."
            )
        session = stack.enter_context(open_session(sessions[0]))
        group = None if group_of is None else group_of(session.scene.name)
        return from_session(session, finished=read_finished(sessions[0]), group=group)
    return from_pictures(open_pictures(path), group_of=group_of)


def _pair(images: Path, labels: Path, group_of: Callable[[str], str] | None) -> Source:
    """Open images with their labels: a single image may have any size."""
    from napari_sam.finetune.data import open_pictures
    from napari_sam.finetune.datasets import from_labels, from_pictures
    from napari_sam.scene import open_scene

    if images.is_file() and labels.is_file() and labels.suffix.lower() != ".json":
        scene = open_scene(images)
        group = None if group_of is None else group_of(scene.name)
        return from_labels(scene, labels, group=group)
    return from_pictures(open_pictures(images, labels), group_of=group_of)


def _grouping(pattern: str) -> Callable[[str], str]:
    """Return what tells the group of a name: the first bracket of a match, or all of it."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--groups {pattern!r} is no regular expression ({error}).") from None

    def group_of(name: str) -> str:
        match = compiled.search(name)
        if match is None:
            raise InputError(f"--groups {pattern!r} does not match {name}: correct it.")
        return str(match[1] if compiled.groups else match[0])

    return group_of
