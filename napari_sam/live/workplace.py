"""All that is needed to work on one image: found again where it was, or made."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from napari_sam.loading import check_model
from napari_sam.own_models import find_own_model
from napari_sam.segment.segmenter import Segmenter
from napari_sam.session import Session, SessionModel
from napari_sam.tiles.reopening import load_like
from napari_sam.tiles.store import EmbeddingStore, ModelInfo, SceneInfo

from .folders import find_session, folder_for, made_folder
from .picture import Picture
from .slices import Slice, Slices, known_like
from .stores import find_store, made_store, scene_of_a_store

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam

__all__ = ["Picture", "Slice", "Workplace", "folder_for"]


@dataclass(frozen=True)
class _View:
    """One plane, and what answers on it."""

    scene: Scene
    model_name: str
    sam: Sam
    model: ModelInfo
    store: EmbeddingStore
    segmenter: Segmenter


class Workplace:
    """An image with its session, a model, and embeddings of the plane that is worked on.

    Made by `open`. What takes long are `open`, `go_to` and `use_model`: they may be called in any
    thread, one at a time. If one fails all is as before. `slice` may be called beside them.

    Attributes
    ----------
    picture : Picture
        The image.
    folder : Path
        Where session and embeddings lie.
    session : Session
        The objects of all planes.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from pathlib import Path
    >>> picture = Picture(np.random.default_rng(0).integers(0, 255, (64, 80), dtype=np.uint8))
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Workplace.open(picture, folder=Path(folder.name)) as workplace:
    ...     number = workplace.session.add_point(20, 30)
    ...     len(workplace.session.candidates())
    3
    >>> sorted(path.name.split("-")[0] for path in Path(folder.name).iterdir())
    ['session', 'vit_nano']
    >>> folder.cleanup()
    """

    def __init__(self, picture: Picture, folder: Path, session: Session) -> None:
        self.picture, self.folder, self.session = picture, folder, session
        self._view: _View | None = None
        self._notes: tuple[str, ...] = ()
        self._slices: Slices | None = None
        self._slicing = threading.Lock()

    @classmethod
    def open(
        cls,
        picture: Picture,
        model: str = "vit_nano",
        *,
        folder: Path | None = None,
        t: int = 0,
        z: int = 0,
    ) -> Self:
        """Go on with an image where it was left, or begin.

        Parameters
        ----------
        picture : Picture
            The image.
        model : str
            A name or file, as `napari_sam.loading.load` takes it.
        folder : Path, optional
            For session and embeddings; by default that of `folder_for`.
        t, z : int
            The plane to work on.

        Raises
        ------
        SessionInUse
            If its session is open already, here or elsewhere.
        InputError
            If image, model or folder cannot be used.
        """
        check_model(model, "auto", "auto")
        notes: list[str] = []
        if folder is None:
            folder, notes = made_folder(picture)
        path, scene, refused = find_session(folder, picture)
        if scene is None:
            adopted = scene_of_a_store(picture, folder, t, z, model)
            session = Session.create(path, picture.open(t, z) if adopted is None else adopted)
        else:
            session = Session.open(path, scene)
        try:
            workplace = cls(picture, folder, session)
            workplace._enter(t, z, model)
        except BaseException:
            session.close(lose=True)  # only which plane and model were looked at
            raise
        if scene is not None:
            count = len(session.ids)
            refused.append(
                f"The session that was there goes on, with {count} object{'s'[: count != 1]}."
            )
        refused.append(f"Objects and embeddings are kept in {folder}.")
        workplace._notes = (*notes, *refused, *session.repairs, *workplace._notes)
        return workplace

    @property
    def scene(self) -> Scene:
        """The plane that is worked on."""
        return self._now.scene

    @property
    def sam(self) -> Sam:
        """The network that answers."""
        return self._now.sam

    @property
    def model_name(self) -> str:
        """By which it was asked for."""
        return self._now.model_name

    @property
    def store(self) -> EmbeddingStore:
        """The embeddings of the plane."""
        return self._now.store

    @property
    def segmenter(self) -> Segmenter:
        """What answers prompts on the plane."""
        return self._now.segmenter

    @property
    def notes(self) -> tuple[str, ...]:
        """What the last `open`, `go_to` or `use_model` found, in sentences.

        What was used again, what did not fit and why, what was repaired, where things lie.
        """
        return self._notes

    def go_to(self, t: int, z: int) -> None:
        """Work on another plane: its own embeddings, the same session.

        Raises
        ------
        InputError
            If there is no such plane, or it changed since it was last worked on.
        """
        self._enter(t, z, self.model_name)

    def slice(self, t: int, z: int) -> Slice:
        """Open a plane beside the one that is worked on: its own embeddings, the same model.

        The few that were used last stay open.

        Raises
        ------
        InputError
            If there is no such plane, or it changed since it was last worked on.
        """
        with self._slicing:
            view, slices = self._now, self._slices
            if slices is None or slices.sam is not view.sam:
                slices = self._slices = Slices(
                    self.picture, self.folder, self.session, view.sam, view.model_name
                )
            return slices.get(t, z)

    def use_model(self, name: str) -> None:
        """Let another model answer: its own embeddings, the same session.

        One with the same image encoder, such as a fine-tuned decoder, goes on with those there are.
        With the name of the one that answers now, embeddings that were lost are begun again.

        Raises
        ------
        InputError
            If there is no such model, or it cannot be had.
        """
        self._enter(self.scene.t, self.scene.z, name)
        with self._slicing:
            self._slices = None

    def close(self, lose: bool = False) -> None:
        """Bring all to the disk, and let others open it.

        Parameters
        ----------
        lose : bool
            Close it even if that loses changes which cannot be written.

        Raises
        ------
        InputError
            If changes cannot be written; then it stays open.
        """
        self.session.close(lose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _now(self) -> _View:
        assert self._view is not None
        return self._view

    def _enter(self, t: int, z: int, model_name: str) -> None:
        view, notes = self._look(t, z, model_name)
        before, self._view = self._view, view  # who hears of it finds all that is new
        try:
            if view.scene is not self.session.scene:
                self.session.go_to(view.scene, view.segmenter)
            self.session.use(view.segmenter, SessionModel.of(view.store, view.model))
        except BaseException:
            self._view = before
            raise
        self._notes = notes

    def _look(self, t: int, z: int, model_name: str) -> tuple[_View, tuple[str, ...]]:
        """Prepare to work on a plane; nothing changes yet."""
        scene, old = self.session.scene, self._view
        if (scene.t, scene.z) != (t, z):
            scene = self.picture.open(t, z, like=known_like(self.session, t, z))
        scene.check_there()
        sam = (
            old.sam
            if old is not None and old.model_name == model_name and not _replaced(old)
            else load_like(None, model_name)
        )
        info, model = SceneInfo.of(scene), ModelInfo.of(sam)
        store, path, notes = find_store(self.picture, self.folder, info, model, model_name)
        if store is None:
            store = made_store(path, scene, info, model)
        elif store.model.number_format != model.number_format:
            sam = load_like(store, model_name)
        segmenter = Segmenter(scene, store, sam)
        return _View(scene, model_name, sam, model, store, segmenter), tuple(notes)


def _replaced(view: _View) -> bool:
    """Tell whether a model of one's own has other weights now than when it was loaded."""
    own = find_own_model(view.model_name)
    return own is not None and own.hash != view.model.hash
