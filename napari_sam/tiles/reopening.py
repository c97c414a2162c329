"""An image and a model opened as they were when a store of embeddings was made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from napari_sam.loading import load

from .subjects import ModelInfo, SceneInfo

if TYPE_CHECKING:
    from napari_sam.scene import Scene
    from src_model import Sam
    from src_model.loading import Precision

    from .store import EmbeddingStore

__all__ = ["choices", "load_like", "open_like"]


def choices(was: SceneInfo) -> dict[str, Any]:
    """Return what `open_scene` needs besides the image to open the same Scene again."""
    from napari_sam.scene import Normalisation

    return {
        "axes": was.axes,
        "channels": was.channels if len(was.channels) > 1 else was.channels[0],
        "t": was.t,
        "z": was.z,
        "nodata": was.nodata,
        "part": was.part,
        "normalisation": Normalisation.from_dict(was.normalisation),
    }


def open_like(store: EmbeddingStore | None, image: str) -> Scene:
    """Open an image; if there is a store, as it was when that was made.

    Raises
    ------
    InputError
        As `open_scene`.
    """
    from napari_sam.scene import open_scene

    return open_scene(image) if store is None else open_scene(image, **choices(store.scene))


def load_like(
    store: EmbeddingStore | None,
    model_name: str,
    device: str = "auto",
    precision: Precision = "auto",
) -> Sam:
    """Load a model; if there is a store, and nothing else is asked for, in its precision.

    Raises
    ------
    InputError
        As `loading.load`.
    """
    sam = load(model_name, device, precision)
    if store is None or precision != "auto":
        return sam
    wanted = store.model.number_format
    if wanted == ModelInfo.of(sam).number_format:
        return sam
    return load(model_name, device, cast("Precision", wanted))
