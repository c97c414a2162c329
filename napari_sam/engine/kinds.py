"""Who is behind the objects of a session: people, the network, or both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from napari_sam.live.review import REVIEW_FILE, mask_fingerprint, read_reviews
from napari_sam.session import Session

from .effort import Effort, read_effort
from .rounds import Kind

__all__ = ["PEOPLE", "kinds_of", "review_file"]

PEOPLE: frozenset[Kind] = frozenset(["person", "imported", "changed", "checked"])
"""Kinds that somebody stands for: what is learned from."""


def review_file(session: Session) -> Path:
    """Return where the review of a session is kept."""
    return session.path.parent / REVIEW_FILE


def kinds_of(session: Session, efforts: Mapping[int, Effort] | None = None) -> dict[int, Kind]:
    """Tell for each object of a session who is behind it.

    Parameters
    ----------
    session : Session
        Open.
    efforts : mapping, optional
        What `read_effort` gives, if it was read already.

    Returns
    -------
    dict of int to Kind
        By id.
    """
    path = review_file(session)
    efforts = read_effort(session.path, path) if efforts is None else efforts
    checked, kinds = read_reviews(path), dict[int, Kind]()
    for number in session.ids:
        source = session.info(number).provenance.source
        changed = number in efforts and efforts[number].changed
        if source not in ("found", "imported"):
            kinds[number] = "person"
        elif changed:
            kinds[number] = "changed"
        elif number in checked and checked[number] == mask_fingerprint(session.mask(number)):
            kinds[number] = "checked"
        else:
            kinds[number] = "automatic" if source == "found" else "imported"
    return kinds
