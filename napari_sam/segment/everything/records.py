"""The raw candidates of a scene's tiles, kept in the store of its embeddings.

    everything/<key>/settings.json        what they depend on; the key is made of it
    everything/<key>/<level>.<row>.<col>  a tile's candidates, see raw.py
    everything/<key>/<...>.failed         why a tile failed, as JSON
    everything/<key>/pairs                overlaps of all candidates, see overlaps.py

Each is written whole or not at all, so that a process may be killed at any moment, and several may
work on different tiles.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from napari_sam.errors import InputError
from napari_sam.tiles.geometry import TileGeometry, TileId
from napari_sam.tiles.places import Place
from napari_sam.tiles.store import EmbeddingStore, Failure, StoreUnusable
from src_model.automatic_thresholds import AutomaticThresholds

from .clicking import RawThresholds
from .grid import Grid, GridLevel
from .packing import Damaged
from .raw import RawCandidates

__all__ = ["RawRecords", "Settings", "find_records"]

_FOLDER = "everything"
_VERSION = 2

_READ_TOGETHER = 64
"""Tiles that are read side by side, and in memory at once."""


@dataclass(frozen=True)
class Settings:
    """What raw candidates depend on, beside the scene, which is the store's.

    Parameters
    ----------
    grid : Grid
        Where is clicked.
    thresholds : RawThresholds
        What is kept.
    sizes : (float or None, float or None)
        Smallest and largest objects, in pixels of level 0: the grid was made for them, and they
        are the first choice of a filter.
    model : str
        Hash of the model, if that is not the store's but one with the same image encoder: it has
        the same embeddings, and other masks.
    best : AutomaticThresholds or None
        Those that were found best for the model's weights, if they are not those of its variant.
    """

    grid: Grid
    thresholds: RawThresholds
    sizes: tuple[float | None, float | None] = (None, None)
    model: str = ""
    best: AutomaticThresholds | None = None

    @property
    def key(self) -> str:
        """A name that is another one for other settings."""
        return hashlib.sha256(self.to_json()).hexdigest()[:16]

    def to_json(self) -> bytes:
        """Return them as they are saved; the geometry is the store's."""
        saved = {
            "version": _VERSION,
            "levels": [asdict(level) for level in self.grid.levels],
            "thresholds": asdict(self.thresholds),
            "sizes": list(self.sizes),
        }
        if self.model:
            saved["model"] = self.model
        if self.best is not None:
            saved["best"] = asdict(self.best)
        for level in saved["levels"]:  # type: ignore[attr-defined]
            level["high"] = None if math.isinf(level["high"]) else level["high"]
        return json.dumps(saved, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes, geometry: TileGeometry) -> Settings:
        """Read what `to_json` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it is something else.
        """
        saved: dict[str, Any] = json.loads(content)
        if saved["version"] != _VERSION:
            raise ValueError(f"version {saved['version']}")
        levels = tuple(
            GridLevel(**{**level, "high": math.inf if level["high"] is None else level["high"]})
            for level in saved["levels"]
        )
        smallest, largest = saved["sizes"]
        return cls(
            Grid(geometry, levels),
            RawThresholds(**saved["thresholds"]),
            (smallest, largest),
            saved.get("model", ""),
            AutomaticThresholds(**saved["best"]) if "best" in saved else None,
        )


class RawRecords:
    """The raw candidates of one choice of settings.

    Parameters
    ----------
    place : Place
        Of the store of embeddings.
    settings : Settings
        What they depend on.
    """

    def __init__(self, place: Place, settings: Settings) -> None:
        self._place, self.settings = place, settings
        self._folder = f"{_FOLDER}/{settings.key}"

    @classmethod
    def make(cls, store: EmbeddingStore, settings: Settings) -> RawRecords:
        """Begin, or go on with what is there.

        Raises
        ------
        StoreUnusable
            If the store cannot be read or written.
        """
        records = cls(store.place, settings)
        key = f"{records._folder}/settings.json"
        if records._place.fetch(key) is None:
            records._place.put(key, settings.to_json())
        return records

    def __repr__(self) -> str:
        return f"RawRecords({self._place.name!r})"

    def has(self, tile: TileId) -> bool:
        """Tell whether a tile's candidates are there."""
        return self._place.fetch(f"{self._folder}/{_name(tile)}") is not None

    def done(self) -> set[TileId]:
        """Return the tiles whose candidates are there."""
        return {_tile(name) for name in self._names() if _is_tile(name)}

    def failures(self) -> list[Failure]:
        """Return the tiles that failed and were not done since, in order."""
        names = self._names()
        done = {name for name in names if _is_tile(name)}
        failed = sorted(n for n in names if n.endswith(".failed") and n[:-7] not in done)
        contents = self._place.fetch_all([f"{self._folder}/{name}" for name in failed])
        found = []
        for name, content in zip(failed, contents, strict=True):
            told = json.loads(content or b"{}")
            found.append(
                Failure(_tile(name[:-7]), told.get("reason", "unknown"), told.get("times", 1))
            )
        return sorted(found, key=lambda failure: failure.tile)

    def write(self, tile: TileId, candidates: RawCandidates) -> None:
        """Keep a tile's candidates.

        Raises
        ------
        StoreUnusable
            If they cannot be written.
        """
        self._place.put(f"{self._folder}/{_name(tile)}", candidates.to_bytes())
        self._place.drop(f"{self._folder}/{_name(tile)}.failed")

    def fail(self, failure: Failure) -> None:
        """Keep why a tile failed.

        Raises
        ------
        StoreUnusable
            If it cannot be written.
        """
        told = json.dumps({"reason": failure.reason, "times": failure.times})
        self._place.put(f"{self._folder}/{_name(failure.tile)}.failed", told.encode())

    def read(self, tile: TileId) -> RawCandidates | None:
        """Return a tile's candidates; None if they are missing or damaged.

        Raises
        ------
        StoreUnusable
            If the store cannot be read.
        """
        return next(self.read_all([tile]))[1]

    def read_all(
        self, tiles: Sequence[TileId]
    ) -> Iterator[tuple[TileId, RawCandidates | None, bytes]]:
        """Give many tiles with their candidates, as `read`, and what tells them from others."""
        for start in range(0, len(tiles), _READ_TOGETHER):
            batch = tiles[start : start + _READ_TOGETHER]
            contents = self._place.fetch_all([f"{self._folder}/{_name(tile)}" for tile in batch])
            for tile, content in zip(batch, contents, strict=True):
                try:
                    found = None if content is None else RawCandidates.from_bytes(content)
                except Damaged:
                    found = None
                yield tile, found, (content or b"")[:32]

    def drop(self, tile: TileId) -> None:
        """Forget a tile, so that it is done again."""
        self._place.drop(f"{self._folder}/{_name(tile)}")

    def read_pairs(self) -> bytes | None:
        """Return the overlaps that were kept, if any."""
        return self._place.fetch(f"{self._folder}/pairs")

    def write_pairs(self, content: bytes) -> None:
        """Keep the overlaps."""
        self._place.put(f"{self._folder}/pairs", content)

    def _names(self) -> list[str]:
        return self._place.names(self._folder)


def find_records(store: EmbeddingStore, key: str | None = None) -> RawRecords:
    """Find the raw candidates in a store.

    Parameters
    ----------
    store : EmbeddingStore
        Where `segment_everything` kept them.
    key : str, optional
        Which, where there are several: `Settings.key`.

    Raises
    ------
    InputError
        If there are none, or several and it is not said which.
    """
    place = store.place
    known = sorted(place.names(_FOLDER))
    if key is None and len(known) != 1:
        which = f"several: say which of {', '.join(known)}" if known else "none yet: make them with"
        raise InputError(
            f"{place.name} has raw candidates of {which}{'' if known else ' segment_everything'}."
        )
    key = known[0] if key is None else key
    content = place.fetch(f"{_FOLDER}/{key}/settings.json")
    if content is None:
        raise InputError(
            f"{place.name} has no raw candidates {key}: choose of {', '.join(known) or 'none'}."
        )
    try:
        return RawRecords(place, Settings.from_json(content, store.geometry))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreUnusable(
            f"the settings of the raw candidates {key} in {place.name} cannot be read ({error}): "
            f"remove the folder {_FOLDER}/{key} and segment everything again."
        ) from error


def _name(tile: TileId) -> str:
    return f"{tile.level}.{tile.row}.{tile.col}"


def _is_tile(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 3 and all(part.isdecimal() for part in parts)


def _tile(name: str) -> TileId:
    level, row, col = map(int, name.split("."))
    return TileId(level, row, col)
