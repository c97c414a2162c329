"""Models of one's own: fine-tuned, registered under a name, with a card that says what they are.

    <user's data>/models/NAME/weights.safetensors   the model; absent where the adapter is enough
    <user's data>/models/NAME/adapter.safetensors   a small file to mail, if the run made one
    <user's data>/models/NAME/card.json             what it is: `ModelCard`, and hashes
    <user's data>/models/NAME/card.md               the same for people
    <user's data>/models/NAME/report/               the report before/after, if there is one

A folder appears under its name only when it is whole.
"""

from .card import ModelCard
from .exporting import export, export_adapter
from .registry import OwnModel, check_name, find_own_model, own_models, register, remove
from .words import name_of, served_too, whose_embeddings

__all__ = [
    "ModelCard",
    "OwnModel",
    "check_name",
    "export",
    "export_adapter",
    "find_own_model",
    "name_of",
    "own_models",
    "register",
    "remove",
    "served_too",
    "whose_embeddings",
]
