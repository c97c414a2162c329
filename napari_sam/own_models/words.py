"""What to say of models that share an image encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .registry import own_models

if TYPE_CHECKING:
    from napari_sam.tiles.subjects import ModelInfo

__all__ = ["name_of", "served_too", "whose_embeddings"]


def name_of(model: ModelInfo) -> str:
    """Return the name by which a person knows a model that made embeddings."""
    own = next((own.name for own in own_models() if own.hash == model.hash), None)
    return own or str(model.variant.get("name", "unnamed"))


def whose_embeddings(there: ModelInfo, given: ModelInfo, model_name: str) -> str:
    """Say that a model uses embeddings that another one made; nothing if it does not.

    Parameters
    ----------
    there : ModelInfo
        What made them.
    given : ModelInfo
        What answers.
    model_name : str
        By which that was asked for.
    """
    if there.hash == given.hash or not given.encodes_like(there):
        return ""
    taught = any(own.hash == given.hash and own.changed_only_the_decoder for own in own_models())
    why = "changed only the decoder" if taught else "has the same image encoder"
    return f"Embeddings of {name_of(there)} are used: {Path(model_name).name} {why}."


def served_too(model: ModelInfo) -> list[str]:
    """Return the registered models that can use the embeddings of another one."""
    if not model.encoder_hash:
        return []
    return [
        own.name
        for own in own_models()
        if own.encoder_hash == model.encoder_hash
        and own.hash != model.hash
        and own.variant == model.variant.get("name")
    ]
