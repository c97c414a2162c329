"""What is told of a model below the list of them."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from napari_sam.own_models import OwnModel

if TYPE_CHECKING:
    from napari_sam.commands.models import ModelRow
    from napari_sam.tiles.store import EmbeddingStore

__all__ = ["about_model"]

_LINK = "color: #3f8ef5"
"""The palette's own colour cannot be read on napari's dark theme."""


def about_model(model: ModelRow, store: EmbeddingStore | None) -> str:
    """Say what a model is, as rich text.

    Parameters
    ----------
    model : ModelRow
        Which.
    store : EmbeddingStore or None
        The embeddings in use, if an image is open.
    """
    licence = escape(model.licence)
    if licence.startswith("see https://"):
        address = licence.removeprefix("see ")
        licence = f'<a style="{_LINK}" href="{address}">see its page</a>'
    told = f"{escape(model.name)}: {escape(model.description)}. Licence: {licence}."
    return told if model.own is None else f"{told}{_card(model.own)}{_reuse(model.own, store)}"


def _card(model: OwnModel) -> str:
    card = model.card
    parts = []
    figures = [name for name in card.after if name in card.before]
    if figures:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td align='right'>&nbsp;{card.before[name]:.3f}</td>"
            f"<td align='right'>&nbsp;{card.after[name]:.3f}</td></tr>"
            for name in figures
        )
        head = "<tr><td><i>On its hold-out</i></td><td>&nbsp;base</td><td>&nbsp;this</td></tr>"
        parts.append(f"<table>{head}{rows}</table>")
    if card.verdict not in ("", "better", "no better"):
        parts.append(f"{escape(card.verdict)}<br>")
    if card.note:
        parts.append(f"{escape(card.note)}<br>")
    links = [("card", model.folder / "card.md")]
    if model.report is not None:
        pages = sorted(model.report.glob("*.html"))
        links.append(("report before/after", pages[0] if pages else model.report))
    named = " · ".join(
        f'<a style="{_LINK}" href="{escape(path.as_uri())}">{name}</a>' for name, path in links
    )
    return f"<br>Made {escape(card.created[:10])}. {''.join(parts)}{named}"


def _reuse(model: OwnModel, store: EmbeddingStore | None) -> str:
    """Say whether what is encoded of the open image serves this model too."""
    if store is None or model.hash == store.model.hash:
        return ""
    if store.model.encoder_hash and model.encoder_hash == store.model.encoder_hash:
        return "<br>It uses the embeddings of this image that are there."
    return "<br>With it the image is encoded again: its image encoder is another one."
