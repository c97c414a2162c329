"""Which image and which network a session is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam.errors import InputError
from napari_sam.tiles.subjects import SceneInfo, by, scene_differences

if TYPE_CHECKING:
    from napari_sam.tiles.store import EmbeddingStore
    from napari_sam.tiles.subjects import ModelInfo

__all__ = ["SessionModel", "check_other_plane", "check_scene"]


@dataclass(frozen=True)
class SessionModel:
    """The network that answers, and what else its answers depend on.

    Parameters
    ----------
    hash : str
        What `src_model.weight_files.model_hash` gives.
    name : str
        Of its variant, for people.
    tile, halo : int
        Of the tiles that it sees.
    dtype : str
        In which embeddings are kept.
    """

    hash: str
    name: str
    tile: int = 1024
    halo: int = 128
    dtype: str = "float16"

    @classmethod
    def of(cls, store: EmbeddingStore, model: ModelInfo | None = None) -> SessionModel:
        """Describe the network that answers with the embeddings of a store.

        Parameters
        ----------
        store : EmbeddingStore
            Of the embeddings.
        model : ModelInfo, optional
            The network, if another one with the same image encoder made the embeddings.
        """
        model, geometry = model or store.model, store.geometry
        name = str(model.variant.get("name", "unnamed"))
        return cls(model.hash, name, geometry.tile, geometry.halo, store.layout.dtype)

    def to_json(self) -> dict[str, Any]:
        """Return what is saved."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> SessionModel:
        """Read what `to_json` gave."""
        return cls(**saved)


def check_scene(path: Path, there: SceneInfo, given: SceneInfo) -> None:
    """Refuse an image that a session is not about.

    Raises
    ------
    InputError
        If it differs.
    """
    if differences := scene_differences(there, given):
        raise InputError(
            f"{path} is the session of another image: {'; '.join(differences)}. Open it with the "
            f"image it was made for ({there.name}), or create a new session."
        )


def check_other_plane(first: SceneInfo, given: SceneInfo) -> None:
    """Refuse what cannot be another plane of the same image.

    Raises
    ------
    InputError
        If size, axes or channels differ.
    """
    if first.shape != given.shape:
        raise InputError(
            f"This is no plane of the session's image: it has {by(given.shape)} pixels, not "
            f"{by(first.shape)}."
        )
    if (first.axes, first.channels) != (given.axes, given.channels):
        raise InputError(
            f"This is no plane of the session's image: it has the axes {given.axes} and channels "
            f"{', '.join(given.channels)}, not {first.axes} and {', '.join(first.channels)}."
        )
