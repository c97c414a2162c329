"""A session without what can be done in it: opened, changed by steps, undone, kept, closed."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

import napari_sam
from napari_sam.errors import InputError
from napari_sam.tiles.subjects import SceneInfo

from .asked import Asked
from .draft import Draft
from .events import Events, SessionEvent, SessionWarning
from .folder import SessionFolder
from .history import History, Location
from .lock import user_name
from .prompts import Plane
from .records import Step
from .snapshot import restore, snapshot_lines
from .state import State
from .subject import SessionModel, check_other_plane, check_scene

if TYPE_CHECKING:
    from napari_sam.scene import Scene

__all__ = ["SessionCore"]


class SessionCore:
    """What `Session` is built on; see there."""

    def __init__(
        self,
        folder: SessionFolder,
        scene: Scene,
        info: SceneInfo,
        segmenter: Asked | None,
        model: SessionModel | None,
        user: str | None,
        events: Events,
    ) -> None:
        self._folder, self._scene, self._segmenter = folder, scene, segmenter
        self._events, self._user = events, user_name() if user is None else user
        self._lock = threading.RLock()
        self._closed, self._depth = False, 0
        self._state, self._model = State(), None
        self._planes: dict[Plane, SceneInfo] = {}
        self._history = History(self._read_step)
        first = SceneInfo.from_dict(folder.head["scene"])
        self._planes[first.t, first.z] = first
        self._load()
        self._enter(info)
        if model is not None and model != self._model:
            folder.append({"model": model.to_json()})
            self._model = model
        for repair in folder.repairs:
            warnings.warn(repair, SessionWarning, stacklevel=4)

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        scene: Scene,
        segmenter: Asked | None = None,
        *,
        model: SessionModel | None = None,
        user: str | None = None,
    ) -> Self:
        """Begin a session.

        Parameters
        ----------
        path : path
            A folder that does not exist or is empty.
        scene : Scene
            The image.
        segmenter : Segmenter, optional
            Answers prompts; without it objects can only be drawn and imported.
        model : SessionModel, optional
            The segmenter's network, to be recorded: ``SessionModel.of(store)``.
        user : str, optional
            Who; by default who is logged in.

        Raises
        ------
        InputError
            If there is something already, it cannot be written, or the image cannot be read.
        """
        events, info = Events(), SceneInfo.of(scene)
        head = {
            "program": f"napari-sam-tiled {napari_sam.__version__}",
            "created": round(time.time(), 3),
            "scene": info.to_dict(),
        }
        folder = SessionFolder.create(Path(path), head, events.warn)
        return cls._made(folder, scene, info, segmenter, model, user, events)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        scene: Scene,
        segmenter: Asked | None = None,
        *,
        model: SessionModel | None = None,
        user: str | None = None,
    ) -> Self:
        """Go on with a session where it was, undo history included.

        Parameters
        ----------
        path : path
            Of the session.
        scene : Scene
            The same image, any plane of it.
        segmenter, model, user
            As for `create`. Another network than before is recorded from here on.

        Raises
        ------
        SessionInUse
            If it is open already, here or elsewhere.
        InputError
            If there is none, or the image is another one.

        Warns
        -----
        SessionWarning
            If the end of the journal was damaged; it is cut off and kept beside.
        """
        events, info = Events(), SceneInfo.of(scene)
        folder = SessionFolder.open(Path(path), events.warn)
        return cls._made(folder, scene, info, segmenter, model, user, events)

    @classmethod
    def _made(cls, folder: SessionFolder, *arguments: Any) -> Self:
        try:
            return cls(folder, *arguments)
        except OSError as error:
            folder.close()
            raise InputError(
                f"{folder.path} cannot be read or written ({error.strerror or error})."
            ) from error
        except BaseException:
            folder.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self, lose: bool = False) -> None:
        """Bring all to the disk, and let others open it; a closed session refuses changes.

        Parameters
        ----------
        lose : bool
            Close it even if that loses changes which cannot be written.

        Raises
        ------
        InputError
            If changes cannot be written; then it stays open.
        """
        with self._lock:
            if self._closed:
                return
            self._folder.flush()
            if self._folder.waiting and not lose:
                raise InputError(
                    f"{self.path} cannot be written: {self._folder.waiting} changes are in memory "
                    f"only; make room on the disk and close it again, or save the labels elsewhere."
                )
            self._folder.close()
            self._closed = True
        self._events.tell()

    @property
    def path(self) -> Path:
        """The folder that it is kept in."""
        return self._folder.path

    @property
    def scene(self) -> Scene:
        """The plane that is worked on."""
        return self._scene

    @property
    def plane(self) -> Plane:
        """(t, z) of the plane that is worked on."""
        return self._scene.t, self._scene.z

    @property
    def planes(self) -> dict[Plane, SceneInfo]:
        """All planes that were worked on, by (t, z), as they were when they were first."""
        with self._lock:
            return dict(self._planes)

    @property
    def model(self) -> SessionModel | None:
        """The network that answers."""
        return self._model

    @property
    def repairs(self) -> tuple[str, ...]:
        """What was damaged when it was opened, in sentences."""
        return tuple(self._folder.repairs)

    @property
    def unsaved(self) -> int:
        """How many changes are in memory only, as the disk is full or gone."""
        return self._folder.waiting

    def write_unsaved(self) -> int:
        """Try to write what is in memory only; return how many changes still are."""
        with self._lock:
            if not self._closed:
                self._folder.flush()
            return self._folder.waiting

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return self._history.can_redo

    def go_to(self, scene: Scene, segmenter: Asked | None = None) -> None:
        """Work on another plane of the same image.

        Parameters
        ----------
        scene : Scene
            That plane.
        segmenter : Segmenter, optional
            Answers prompts on it.

        Raises
        ------
        InputError
            If it is another image, or the plane changed since it was last here.
        """
        info = SceneInfo.of(scene)
        with self._changing():
            self._enter(info)
            self._scene, self._segmenter = scene, segmenter
            self._events.add(SessionEvent("plane"))

    def use(self, segmenter: Asked, model: SessionModel) -> None:
        """Let another network answer from here on, which is recorded; objects stay as they are.

        Candidates that the one before found are no longer offered.
        """
        with self._changing():
            if model != self._model:
                self._folder.append({"model": model.to_json()})
            self._segmenter, self._model = segmenter, model
            self._events.add(SessionEvent("model"))

    def undo(self) -> bool:
        """Take the last step back, in whatever plane it was; False if there is none."""
        return self._travel("undo")

    def redo(self) -> bool:
        """Do the step again that was taken back last; False if there is none."""
        return self._travel("redo")

    def on_change(self, callback: Callable[[SessionEvent], object]) -> Callable[[], None]:
        """Call a function after each change, in the thread that made it.

        Returns
        -------
        callable
            Ends it.
        """
        return self._events.subscribe(callback)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep other threads out; what happened is told when they are let in again."""
        with self._lock:
            self._check_open()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            outermost = self._depth == 0
        if outermost:
            self._events.tell()

    @contextmanager
    def _drafting(self, name: str, **arguments: Any) -> Iterator[Draft]:
        """Make a step: all of it, or nothing if the block raises."""
        with self._changing():
            plain = {
                key: given.item() if isinstance(given, np.generic) else given
                for key, given in arguments.items()
            }
            draft = Draft(self._state, self.plane, self._scene.shape, self._user, name, **plain)
            try:
                yield draft
            except BaseException:
                draft.take_back()
                raise
            self._keep(draft.step)

    def _keep(self, step: Step) -> None:
        if not step.objects and not step.prompts:
            return
        self._history.add(step, self._folder.append({"step": step.to_json()}))
        self._after(SessionEvent("step", step.ids, step.regions, step.name))

    def _travel(self, way: str) -> bool:
        with self._changing():
            there = self._history.can_undo if way == "undo" else self._history.can_redo
            if not there:
                return False
            number = self._history.position - (way == "undo")
            step = self._move(way)
            record: dict[str, Any] = {way: True}
            if self._history.locations[number].journal != self._folder.number:
                # Older journals are needed to undo, but never to know what is there now.
                record["step"] = step.to_json()
            self._folder.append(record)
            kind: Any = way
            self._after(SessionEvent(kind, step.ids, step.regions, step.name))
        return True

    def _move(self, way: str, step: Step | None = None) -> Step:
        back = way == "undo"
        if step is None:
            step = self._history.step(self._history.position - back)
        self._state.apply(step.inverse if back else step)
        self._history.position += -1 if back else 1
        return step

    def _after(self, event: SessionEvent) -> None:
        self._events.add(event)
        if self._folder.is_long:
            self._folder.begin_journal(self._snapshot())

    def _enter(self, info: SceneInfo) -> None:
        """Make sure that a plane is one of this image, and remember it."""
        plane = info.t, info.z
        if plane in self._planes:
            check_scene(self.path, self._planes[plane], info)
            return
        check_other_plane(next(iter(self._planes.values())), info)
        self._planes[plane] = info
        self._folder.append({"plane": info.to_dict()})

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(f"The session {self.path} is closed: open it again.")

    def _read_step(self, location: Location) -> Step:
        return Step.from_json(self._folder.read(location)["step"])

    def _snapshot(self) -> Iterator[dict[str, Any]]:
        return snapshot_lines(self._state, self._history, self._planes, self._model)

    def _load(self) -> None:
        if self._folder.snapshot:
            found = restore(self._folder.snapshot)
            self._state, self._model = found.state, found.model
            self._planes.update(found.planes)
            self._history = History(self._read_step, found.locations, found.position)
        for location, record in self._folder.records():
            try:
                self._replay(location, record)
            except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
                self._folder.cut(location, f"it makes no sense: {error}")
                break

    def _replay(self, location: Location, record: dict[str, Any]) -> None:
        step = Step.from_json(record["step"]) if "step" in record else None
        if "undo" in record or "redo" in record:
            self._move("undo" if "undo" in record else "redo", step)
        elif step is not None:
            self._state.apply(step)
            self._history.add(None, location)
        elif "model" in record:
            self._model = SessionModel.from_json(record["model"])
        elif "plane" in record:
            info = SceneInfo.from_dict(record["plane"])
            self._planes[info.t, info.z] = info
        else:
            raise KeyError(f"nothing known in {sorted(record)}")
